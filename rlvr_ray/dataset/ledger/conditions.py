"""The filter of a search as conditions of SQL; what is asked for are parameters, never text."""

import json
import re
from typing import Any

from rlvr_ray.dataset import filters
from rlvr_ray.dataset.filters import Filter
from rlvr_ray.dataset.ledger.connection import valid

#: Whether nobody has reviewed the pair of an entry.
UNREVIEWED = "entry.batch NOT IN (SELECT batch FROM review)"
#: The latest review of each batch.
LATEST = "SELECT batch, verdict, max(seq) FROM review GROUP BY batch"
#: Whether a batch has a text. It is done in C, while the interpreter does other things: first the
#: whole record, then its texts. Only where SQLite does not know the case of the letters wanted, is
#: what is left looked at here.
_SAYS = f"""
record LIKE :in_record ESCAPE '\\'
AND ({valid("record")} ->> '$.question' LIKE :in_text ESCAPE '\\' OR EXISTS (
    SELECT 1 FROM json_each({valid("record")}, '$.candidates') AS one
    WHERE CASE one.type WHEN 'object' THEN one.value ->> '$.answer' END
        LIKE :in_text ESCAPE '\\'
))
AND (:ascii OR says(CAST(record AS BLOB), :text))
"""
_CREATED = f"micros(CAST({valid('record')} ->> '$.created_at' AS BLOB))"
#: Conditions on an entry, by the parameter that asks for each.
_ENTRY = {
    "outcomes": "outcome IN (SELECT value FROM json_each(:outcomes))",
    "model": f"models IN (SELECT models.seq FROM models, json_each({valid('names')}) "
    "WHERE value = :model)",
    "min_score": "chosen >= :min_score",
    "max_score": "chosen <= :max_score",
    "min_margin": "chosen - rejected >= :min_margin",
    "max_margin": "chosen - rejected <= :max_margin",
    "since": "at >= :since",
    "until": "at < :until",
    "correlation_id": "correlation_id = :correlation_id",
    "verdict": f"entry.batch IN (SELECT batch FROM ({LATEST}) WHERE verdict = :verdict)",
    "text": f"EXISTS (SELECT 1 FROM batch WHERE batch.seq = entry.batch AND {_SAYS})",
}
#: The same on the record of a batch that is open.
_OPEN = {
    "model": f"EXISTS (SELECT 1 FROM json_each({valid('record')}, '$.candidates') AS one "
    "WHERE CASE one.type WHEN 'object' THEN one.value ->> '$.model' END = :model)",
    "since": f"{_CREATED} >= :since",
    "until": f"{_CREATED} < :until",
    "correlation_id": f"{valid('record')} ->> '$.correlation_id' = :correlation_id",
    "text": _SAYS,
}


def conditions(where: Filter, low: int, high: int) -> tuple[str, str | None, dict[str, Any]]:
    """SQL for an entry, SQL for an open batch (None where none can fit), and their values."""
    values = _values(where)
    decided = ["batch > :low AND batch <= :high"]
    opened = ["open AND seq > :low AND seq <= :high"]
    for name in values:
        if name in _ENTRY:
            decided.append(_ENTRY[name])
        if name in _OPEN:
            opened.append(_OPEN[name])
    if where.review == filters.UNREVIEWED:
        decided.append(UNREVIEWED)
    values |= {"low": low, "high": high}
    return " AND ".join(decided), " AND ".join(opened) if where.wants_open else None, values


def _values(where: Filter) -> dict[str, Any]:
    """What is asked for, as SQL compares it."""
    found: dict[str, Any] = {"model": where.model, "correlation_id": where.correlation_id}
    if where.outcomes:
        found["outcomes"] = json.dumps(filters.reasons(where.outcomes))
    for name in ("min_score", "max_score", "min_margin", "max_margin"):
        value = getattr(where, name)
        found[name] = None if value is None else filters.millionths(value)
    for name in ("since", "until"):
        value = getattr(where, name)
        found[name] = None if value is None else filters.micros(value)
    if where.review not in (None, filters.UNREVIEWED):
        found["verdict"] = where.review
    if where.text:
        in_record = json.dumps(where.text, ensure_ascii=False)[1:-1]
        found |= {
            "text": where.text,
            "in_record": _like(in_record),
            "in_text": _like(where.text),
            "ascii": where.text.isascii(),
        }
    return {name: value for name, value in found.items() if value is not None}


def _like(text: str) -> str:
    """A pattern that fits whatever has the text.

    SQLite knows the case of ASCII only, so other characters may be anything.
    """
    pattern = re.sub(r"([\\%_])", r"\\\1", text)
    pattern = re.sub(r"[^\x00-\x7f]+", "%", pattern)
    return f"%{pattern}%"
