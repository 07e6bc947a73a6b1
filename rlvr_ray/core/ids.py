"""Deterministic ids and seeds: the same batch, answer or event always gets the same id."""

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from uuid import NAMESPACE_URL, UUID, uuid5

#: Root of every id that rlvr_ray derives. Changing it would orphan every ledger.
NAMESPACE = uuid5(NAMESPACE_URL, "urn:rlvr-ray")


def derive(*parts: object) -> UUID:
    """UUIDv5 over the parts, in order."""
    return uuid5(NAMESPACE, "\x1f".join(str(part) for part in parts))


def batch_for_key(idempotency_key: str) -> UUID:
    """The batch that a caller's idempotency key names."""
    return derive("batch", idempotency_key)


@lru_cache(maxsize=4096)  # a batch is checked when it is made, kept and read
def answer_event(batch_id: UUID, index: int) -> UUID:
    """``answer.generated`` of candidate ``index``."""
    return derive(batch_id, "answer", index)


def verification_event(batch_id: UUID, index: int) -> UUID:
    """``verification.completed`` or ``verification.failed`` of candidate ``index``."""
    return derive(batch_id, "verification", index)


def outcome_event(batch_id: UUID) -> UUID:
    """``pair.created`` or ``pair.skipped`` of a batch."""
    return derive(batch_id, "outcome")


def events_of(batch_id: UUID, candidates: int) -> Iterator[UUID]:
    """Ids of all events that a batch of so many candidates can have."""
    yield outcome_event(batch_id)
    for index in range(candidates):
        yield answer_event(batch_id, index)
        yield verification_event(batch_id, index)


def batch_of(event_id: UUID, batch_ids: Iterable[str], candidates: int) -> UUID | None:
    """The batch, of so many candidates at most, from which an event's id is derived; or None."""
    names = ["outcome"]
    for index in range(candidates):
        names += [f"answer\x1f{index}", f"verification\x1f{index}"]
    endings = [f"\x1f{name}".encode() for name in names]
    # What uuid5 does, without what it does besides: there may be many batches. The first six bytes
    # of an id are those of the hash.
    beginning = event_id.bytes[:6]
    for text in batch_ids:
        start = hashlib.sha1(NAMESPACE.bytes + text.encode(), usedforsecurity=False)
        for ending in endings:
            whole = start.copy()
            whole.update(ending)
            if whole.digest()[:6] == beginning and event_id in events_of(UUID(text), candidates):
                return UUID(text)
    return None


def document_event(document_id: UUID, number: int) -> UUID:
    """``document.ingested`` of a document's content ``number``, counted from 0."""
    return derive(document_id, "ingested", number)


def seed(*parts: object) -> int:
    """A sampling seed in 0 .. 2**31 - 1, which every engine accepts."""
    return derive("seed", *parts).int % 2**31
