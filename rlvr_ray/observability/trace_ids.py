"""Trace ids and span ids, derived from the ids of batches and events.

A batch id has 128 bits, like an OpenTelemetry trace id. So every process that knows the batch, also
after a crash, continues the same trace.
"""

import re
from uuid import UUID

from rlvr_ray.core import ids

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
#: Bits of a batch id that are random in every version of UUID that we make.
_RANDOM_BITS = 48


def trace_id(batch_id: UUID) -> str:
    """32 hexadecimal digits: the batch id without its dashes."""
    return batch_id.hex


def span_id(event_id: UUID) -> str:
    """16 hexadecimal digits: the last ones of the event's id."""
    return event_id.hex[16:]


def ask_span_id(batch_id: UUID) -> str:
    """The span under which all others of a batch stand."""
    return span_id(ids.derive(batch_id, "ask"))


def traceparent(batch_id: UUID, event_id: UUID) -> str:
    """The W3C header that names an event's span; whoever sends it on continues the trace."""
    return f"00-{trace_id(batch_id)}-{span_id(event_id)}-01"


def parsed(traceparent: str) -> tuple[int, int] | None:
    """Trace and span id of a W3C header, or None where it is none."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or found[1] == "ff" or (found[1] == "00" and found[4]):
        return None
    trace, span = int(found[2], 16), int(found[3], 16)
    return (trace, span) if trace and span else None


def sampled(batch_id: UUID, share: float) -> bool:
    """Whether a batch is in the share, 0 to 1, that is traced; every process decides the same."""
    number: int = batch_id.int >> (128 - _RANDOM_BITS)
    return number < share * (1 << _RANDOM_BITS)
