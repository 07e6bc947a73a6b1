"""Ids of traces and spans, which are in the trace, and what is told of a failure."""

from uuid import UUID, uuid4

import pytest

from rlvr_ray.core import ids
from rlvr_ray.observability import trace_ids
from rlvr_ray.pipeline.spans import REASON_CHARS, without_quotations

BATCH = UUID("0123456789abcdef0123456789abcdef")


def test_a_trace_is_a_batch_and_a_span_an_event() -> None:
    event = UUID("00000000-0000-0000-8123-456789abcdef")
    assert trace_ids.trace_id(BATCH) == "0123456789abcdef0123456789abcdef"
    assert trace_ids.traceparent(BATCH, event) == f"00-{BATCH.hex}-8123456789abcdef-01"
    spans = [trace_ids.span_id(ids.answer_event(BATCH, n)) for n in range(8)]
    spans += [trace_ids.span_id(ids.verification_event(BATCH, n)) for n in range(8)]
    spans += [trace_ids.span_id(ids.outcome_event(BATCH)), trace_ids.ask_span_id(BATCH)]
    assert len(set(spans)) == 18
    assert all(len(span) == 16 and int(span, 16) for span in spans)


def test_what_we_write_we_read() -> None:
    event = ids.answer_event(BATCH, 0)
    header = trace_ids.traceparent(BATCH, event)
    assert trace_ids.parsed(header) == (BATCH.int, int(trace_ids.span_id(event), 16))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        f"ff-{'1' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'1' * 16}-01-more",
        f"00-{'1' * 31}-{'1' * 16}-01",
        f"00-{'A' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'1' * 16}-01\n",
        f" 00-{'1' * 32}-{'1' * 16}-01",
    ],
    ids=repr,
)
def test_what_is_no_header_is_none(header: str) -> None:
    assert trace_ids.parsed(header) is None


def test_a_later_version_may_have_more() -> None:
    assert trace_ids.parsed(f"01-{'1' * 32}-{'2' * 16}-00-more") == (
        int("1" * 32, 16),
        0x2222222222222222,
    )


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("version", [4, 5])
def test_so_many_batches_are_in_the_share(share: float, version: int) -> None:
    """Some bits of an id say which kind it is: these must not count."""
    some = [uuid4() if version == 4 else ids.derive(share, n) for n in range(4000)]
    found = sum(trace_ids.sampled(batch_id, share) for batch_id in some)
    assert found == pytest.approx(4000 * share, abs=160)  # five standard deviations


def test_none_and_all_are_shares_too() -> None:
    for batch_id in (UUID(int=0), UUID(int=2**128 - 1), BATCH):
        assert not trace_ids.sampled(batch_id, 0.0)
        assert trace_ids.sampled(batch_id, 1.0)


def test_a_reason_quotes_nobody() -> None:
    answer = "Ray scales Python programs across machines."
    reason = f"grounded calls supported what nobody speaks of: {answer[:30]}"
    told = without_quotations(reason, ["What is Ray?", answer])
    assert told == "grounded calls supported what nobody speaks of: …"
    assert without_quotations("the judge did not answer", [answer]) == "the judge did not answer"
    assert len(without_quotations("x" * 1000, [])) == REASON_CHARS


def test_every_quotation_goes() -> None:
    one, other = "the first long passage", "another long passage"
    told = without_quotations(f"A: {one}; B: {other}; C: {one}", [one, other])
    assert told == "A: …; B: …; C: …"
