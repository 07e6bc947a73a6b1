"""The events of each commit, derived from its records."""

from dataclasses import dataclass

from rlvr_ray.core.records import Candidate, Outcome
from rlvr_ray.dataset.ledger import Reader
from rlvr_ray.dataset.state import Commit, DocumentCommit, Page
from rlvr_ray.events import bodies
from rlvr_ray.events.bodies import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """An event and its place in the order of commits."""

    seq: int
    event: Event


def events(ledger: Reader, after: int, limit: int) -> Page[Posted]:
    """Events in the order of their commits; those of batches past retention are left out."""
    rows = ledger.outbox(after, limit)
    posted = (Posted(seq=row.seq, event=event_of(row)) for row in rows)
    return Page(posted, last=rows.last, more=rows.more)


def event_of(commit: Commit) -> Event:
    """The event of a commit, every time the same."""
    if isinstance(commit, DocumentCommit):
        return bodies.document_ingested(
            document_id=commit.document.document_id,
            number=commit.version,
            filename=commit.document.source,
            num_chunks=commit.document.num_chunks,
            at=commit.at,
        )
    batch, record = commit.state.batch, commit.record
    if isinstance(record, Candidate):
        return bodies.answer_generated(batch, record)
    if isinstance(record, Outcome):
        return bodies.outcome_decided(batch, record, commit.state.results)
    (candidate,) = (c for c in batch.candidates if c.event_id == record.answer_event_id)
    return bodies.verification_ended(batch, candidate, record)
