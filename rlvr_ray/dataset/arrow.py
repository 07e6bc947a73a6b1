"""The Parquet columns of the datasets, derived from the types of their rows; rows as columns."""

import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints

import pyarrow as pa
from typing_extensions import is_typeddict

from rlvr_ray.dataset import row_types
from rlvr_ray.dataset.rows import Row

_SCALARS = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def arrow_type(hint: Any) -> pa.DataType:
    """The Arrow type of a field; every column may be null.

    A typed dictionary beside ``Annotated`` says what Parquet has: instead of a dictionary with any
    keys, or in each element of a list, behind its judge. Raises TypeError for any other type.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, *notes = arguments
        beside = next((note for note in notes if is_typeddict(note)), None)
        if beside is None:
            return arrow_type(inner)
        if get_origin(inner) is dict:
            return arrow_type(beside)
        (element,) = get_args(inner)
        return pa.list_(pa.struct(_fields(element, behind=("judge", beside))))
    if origin is NotRequired:
        return arrow_type(arguments[0])
    if origin in (Union, types.UnionType):
        (only,) = [each for each in arguments if each is not type(None)]
        return arrow_type(only)
    if origin is Literal:
        return pa.string()
    if origin is list:
        return pa.list_(arrow_type(arguments[0]))
    if is_typeddict(hint):
        return pa.struct(_fields(hint))
    if hint in _SCALARS:
        return _SCALARS[hint]
    raise TypeError(f"no Arrow type for {hint}")


def _fields(row: Any, behind: tuple[str, Any] | None = None) -> list[tuple[str, pa.DataType]]:
    fields: list[tuple[str, pa.DataType]] = []
    for name, hint in get_type_hints(row, include_extras=True).items():
        fields.append((name, arrow_type(hint)))
        if behind and name == behind[0]:
            fields += _fields(behind[1])
    return fields


#: Dataset name (also its folder) → the type of its rows.
SCHEMAS = {
    "dpo_data": pa.schema(_fields(row_types.Pair)),
    "training_data": pa.schema(_fields(row_types.Answer)),
}
#: Rows converted at once. The conversion holds the interpreter's lock: a thousand rows in one go
#: would keep an acknowledgement waiting for some 50 ms.
SLICE = 20


def table(dataset: str, rows: Sequence[Row]) -> pa.Table:
    """Rows of a dataset as columns."""
    schema = SCHEMAS[dataset]
    slices = [rows[n : n + SLICE] for n in range(0, len(rows), SLICE)]
    return pa.Table.from_batches(
        [pa.RecordBatch.from_pylist(list(some), schema=schema) for some in slices], schema
    )
