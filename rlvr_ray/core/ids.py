"""Deterministic ids and seeds: the same fact has the same id, however often it is told."""

from uuid import NAMESPACE_URL, UUID, uuid5

#: Root of every id that rlvr_ray derives. Changing it would orphan every ledger.
NAMESPACE = uuid5(NAMESPACE_URL, "urn:rlvr-ray")


def derive(*parts: object) -> UUID:
    """UUIDv5 over the parts, in order."""
    return uuid5(NAMESPACE, "\x1f".join(str(part) for part in parts))


def batch_for_key(idempotency_key: str) -> UUID:
    """The batch that a caller's idempotency key names."""
    return derive("batch", idempotency_key)


def answer_event(batch_id: UUID, index: int) -> UUID:
    """``answer.generated`` of candidate ``index``."""
    return derive(batch_id, "answer", index)


def verification_event(batch_id: UUID, index: int) -> UUID:
    """``verification.completed`` or ``verification.failed`` of candidate ``index``."""
    return derive(batch_id, "verification", index)


def outcome_event(batch_id: UUID) -> UUID:
    """``pair.created`` or ``pair.skipped`` of a batch."""
    return derive(batch_id, "outcome")


def document_event(document_id: UUID, number: int) -> UUID:
    """``document.ingested`` of a document's content ``number``, counted from 0."""
    return derive(document_id, "ingested", number)


def seed(*parts: object) -> int:
    """A sampling seed in 0 .. 2**31 - 1, which every engine accepts."""
    return derive("seed", *parts).int % 2**31
