"""The narrow rows for searches: one for each decided batch within retention."""

import json
from datetime import datetime
from typing import Any

import apsw

from rlvr_ray.core import codec
from rlvr_ray.core.fields import utc
from rlvr_ray.core.records import Batch
from rlvr_ray.dataset import filters
from rlvr_ray.dataset.filters import Entry


def add(db: apsw.Connection, number: int, entry: Entry, known: dict[str, int]) -> None:
    """Write a batch's entry. ``known`` holds rows of the table ``models`` by their names."""
    names = json.dumps(entry.models, ensure_ascii=False)
    if names not in known:
        db.execute("INSERT INTO models (names) VALUES (?) ON CONFLICT DO NOTHING", (names,))
        ((number_of_names,),) = db.execute("SELECT seq FROM models WHERE names = ?", (names,))
        known[names] = number_of_names
    db.execute(
        "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            entry.at,
            entry.outcome,
            entry.chosen,
            entry.rejected,
            known[names],
            entry.correlation_id,
        ),
    )


def of(db: apsw.Connection, number: int) -> Entry | None:
    """A batch's entry; None where it has none."""
    row = db.execute(
        "SELECT at, outcome, chosen, rejected, names, correlation_id "
        "FROM entry JOIN models ON models.seq = models WHERE batch = ?",
        (number,),
    ).fetchone()
    if row is None:
        return None
    at, outcome, chosen, rejected, names, correlation_id = row
    return Entry(at, outcome, chosen, rejected, tuple(json.loads(names)), correlation_id)


def add_functions(db: apsw.Connection) -> None:
    """SQL functions of bytes: ``micros`` of a time, ``says`` of a batch's record and a text."""
    db.create_scalar_function("micros", _micros, 1)
    db.create_scalar_function("says", _says, 2)


def _micros(*values: Any) -> int | None:
    (at,) = values
    try:
        return filters.micros(utc("time", datetime.fromisoformat(at.decode())))
    except (ValueError, AttributeError):  # of a record that cannot be read
        return None


def _says(*values: Any) -> bool:
    record, text = values
    try:
        return filters.says(codec.loads(Batch, record), text)
    except ValueError:
        return False
