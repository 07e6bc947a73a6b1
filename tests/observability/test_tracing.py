"""Traces of pipeline and aggregator, as a receiver of the test's own gets them."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rlvr_ray.core import ids
from rlvr_ray.core.errors import ConfigError, NoDocuments, Unavailable
from rlvr_ray.core.records import Batch, Kind
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.events import bodies
from rlvr_ray.observability import trace_ids
from rlvr_ray.observability.opentelemetry import OpenTelemetry, serve_spans
from rlvr_ray.observability.tracing import OFF, Tracer
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.pipeline.ask import Ask, Pipeline
from rlvr_ray.pipeline.spans import record_answers
from rlvr_ray.serve import deployments
from rlvr_ray.settings import Settings, TracingSettings
from tests.builders import batch, context
from tests.fakes import FakeGenerator, FakePanel, FakeRetriever
from tests.otlp import Receiver, Span, receiver
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


QUESTION = "What does the secret question ask for?"
PASSAGE = "A passage that no trace may ever show."
ANSWERS = ("a: the best of answers", "b: one in the middle", "c: the worst of answers")
SCORES: dict[str, float | str] = {
    ANSWERS[0]: 0.59,
    ANSWERS[1]: f"judged not: {ANSWERS[1]}",
    ANSWERS[2]: 0.4,
}
PAIR: dict[str, float | str] = {ANSWERS[0]: 0.9, ANSWERS[1]: 0.8, ANSWERS[2]: 0.4}
CALLER = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.fixture
def received() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def tracer_of(received: Receiver, share: float = 1.0) -> OpenTelemetry:
    return OpenTelemetry(TracingSettings(endpoint=received.url, sample=share))


def ask(**changes: Any) -> Ask:
    fields: dict[str, Any] = {
        "batch_id": uuid4(),
        "correlation_id": "mine",
        "question": QUESTION,
        "kind": Kind.PREFERENCE,
        "num_candidates": 3,
        "temperatures": (0.3, 0.7, 0.9),
        "top_k": 3,
    }
    return Ask(**fields | changes)


class System:
    """An aggregator on a folder and a pipeline before it, each as its own process has them."""

    def __init__(self, folder: Path, asking: Tracer, recording: Tracer) -> None:
        self.retriever = FakeRetriever([context(PASSAGE)])
        self.generator = FakeGenerator(lambda _: ANSWERS)
        self.panel = FakePanel(SCORES)
        settings = Settings(data_dir=folder)
        self.aggregator = Aggregator(
            Ledger(folder), Dataset(folder), self.panel, settings, tracer=recording
        )
        self.pipeline = Pipeline(self.retriever, self.generator, self.aggregator, 64, asking)

    async def ask(self, **changes: Any) -> Batch:
        return await self.pipeline.ask(ask(**changes))

    async def decided(self, batch_id: UUID) -> None:
        """Wait until the batch is decided; the hub tells at once."""
        seen: str | None = None
        async with asyncio.timeout(PATIENCE_S):
            while True:
                told = await self.aggregator.live.watch(batch_id, seen, PATIENCE_S)
                if any(event.kind == "end" for event in told):
                    return
                seen = told[-1].id if told else seen


@asynccontextmanager
async def running(
    folder: Path, asking: Tracer = OFF, recording: Tracer | None = None
) -> AsyncIterator[System]:
    system = System(folder, asking, asking if recording is None else recording)
    await system.aggregator.start()
    try:
        yield system
    finally:
        await system.aggregator.close()


async def until(received: Receiver, *names: str) -> dict[str, list[Span]]:
    """The spans by name, once there is one of each."""
    spans = await asyncio.to_thread(received.wait_for, *names)
    found: dict[str, list[Span]] = {}
    for span in spans:
        found.setdefault(span.name, []).append(span)
    return found


async def test_one_trace_leads_from_the_ask_to_the_written_rows(
    received: Receiver, tmp_path: Path
) -> None:
    asking, recording = tracer_of(received), tracer_of(received)
    async with running(tmp_path, asking, recording) as system:
        batch = await system.ask()
        await system.decided(batch.batch_id)
    asking.close()
    recording.close()
    spans = await until(received, "ask", "decide", "write")
    assert received.paths == {"/v1/traces"}
    everything = [span for some in spans.values() for span in some]
    assert {span.trace_id for span in everything} == {batch.batch_id.hex}
    assert {span.service for span in everything} == {"rlvr_ray"}
    assert {name: len(some) for name, some in spans.items()} == {
        **dict.fromkeys(("ask", "search", "generate", "record", "verify", "decide", "write"), 1),
        "generate candidate": 3,
        "verify candidate": 3,
    }
    (root,), (generate,), (verify,) = spans["ask"], spans["generate"], spans["verify"]
    assert (root.parent_id, root.span_id) == ("", trace_ids.ask_span_id(batch.batch_id))
    for name in ("search", "generate", "record", "verify", "decide", "write"):
        assert [span.parent_id for span in spans[name]] == [root.span_id], name
    assert {span.parent_id for span in spans["generate candidate"]} == {generate.span_id}
    assert {span.parent_id for span in spans["verify candidate"]} == {verify.span_id}
    assert all(span.start <= span.end for span in everything)
    assert root.start <= spans["search"][0].start
    assert spans["record"][0].end <= root.end
    assert batch.asked_at is not None and batch.asked_at <= batch.created_at
    assert root.start == round(batch.asked_at.timestamp() * 1e6) * 1000


async def test_spans_have_the_figures_and_the_ids_of_events(
    received: Receiver, tmp_path: Path
) -> None:
    tracer = tracer_of(received)
    async with running(tmp_path, tracer) as system:
        batch = await system.ask()
        await system.decided(batch.batch_id)
    tracer.close()
    spans = await until(received, "ask", "decide", "write")
    (root,), (decide,), (write,) = spans["ask"], spans["decide"], spans["write"]
    assert root.attributes["rlvr.correlation_id"] == "mine"
    assert root.attributes["rlvr.num_candidates"] == 3
    assert spans["search"][0].attributes["rlvr.contexts"] == 1
    answers = sorted(
        spans["generate candidate"], key=lambda s: s.attributes["rlvr.candidate_index"]
    )
    for index, (span, candidate) in enumerate(zip(answers, batch.candidates, strict=True)):
        assert span.span_id == trace_ids.span_id(ids.answer_event(batch.batch_id, index))
        assert span.attributes["gen_ai.response.model"] == "fake-model"
        assert span.attributes["gen_ai.request.temperature"] == candidate.temperature
        assert span.attributes["gen_ai.usage.input_tokens"] == 50
        assert span.attributes["gen_ai.usage.output_tokens"] == 7
    judged = sorted(spans["verify candidate"], key=lambda s: s.attributes["rlvr.candidate_index"])
    assert [span.failed for span in judged] == [False, True, False]
    assert [span.attributes.get("rlvr.score") for span in judged] == [0.59, None, 0.4]
    assert judged[0].attributes["rlvr.faithfulness"] == 0.59
    assert judged[0].attributes["rlvr.verifiers"] == ["grounded"]
    assert judged[1].attributes["rlvr.reason"] == "judged not: …"
    assert judged[2].span_id == trace_ids.span_id(ids.verification_event(batch.batch_id, 2))
    assert decide.span_id == trace_ids.span_id(ids.outcome_event(batch.batch_id))
    assert [span.attributes.get("rlvr.defect") for span in judged] == [
        "unsupported",
        None,
        "unsupported",
    ]
    assert decide.attributes["rlvr.outcome"] == "no pair"
    assert decide.attributes["rlvr.reason"] == "chosen_too_low"
    (path,) = write.attributes["rlvr.files"]
    assert (tmp_path / path).is_file()
    assert write.attributes["rlvr.rows"] == 3


async def test_a_pair_has_its_margin_and_both_files(received: Receiver, tmp_path: Path) -> None:
    tracer = tracer_of(received)
    async with running(tmp_path, tracer) as system:
        system.panel._scores = PAIR
        batch = await system.ask()
        await system.decided(batch.batch_id)
    tracer.close()
    spans = await until(received, "write")
    (decide,), (write,) = spans["decide"], spans["write"]
    assert decide.attributes["rlvr.outcome"] == "pair"
    assert decide.attributes["rlvr.margin"] == pytest.approx(0.5)
    assert "rlvr.reason" not in decide.attributes
    assert len(write.attributes["rlvr.files"]) == 2
    assert write.attributes["rlvr.rows"] == 4


async def test_answers_that_are_watched_have_their_own_ends(
    received: Receiver, tmp_path: Path
) -> None:
    tracer = tracer_of(received)
    async with running(tmp_path, tracer) as system:
        system.generator.script = lambda _: ("short", "two words", "of all the longest one")
        prepared = await system.pipeline.prepare(asked := ask())
        assert not isinstance(prepared, Batch)
        await system.pipeline.answer(prepared, lambda *_: None)
        await system.decided(asked.batch_id)
    tracer.close()
    spans = await until(received, "write")
    answers = sorted(
        spans["generate candidate"], key=lambda s: s.attributes["rlvr.candidate_index"]
    )
    assert len({span.start for span in answers}) == 1
    first, second, third = (span.end for span in answers)
    assert first < second < third <= spans["generate"][0].end


async def test_no_text_is_ever_sent(received: Receiver, tmp_path: Path) -> None:
    tracer = tracer_of(received)
    async with running(tmp_path, tracer) as system:
        batch = await system.ask(references=("a right answer that is secret",))
        await system.decided(batch.batch_id)
        system.generator.failures = [Unavailable(f"no answer to {QUESTION}")]
        with pytest.raises(Unavailable):
            await system.ask()
    tracer.close()
    await until(received, "write")
    for text in (QUESTION, PASSAGE, "a right answer that is secret", *ANSWERS):
        assert text.encode() not in received.raw
        assert text[:15].encode() not in received.raw


async def test_the_trace_goes_on_after_the_aggregator_was_restarted(
    received: Receiver, tmp_path: Path
) -> None:
    asking, first, second = (tracer_of(received) for _ in range(3))
    async with running(tmp_path, asking, first) as system:
        system.panel.hang()
        batch = await system.ask()
        await system.panel.until(lambda: system.panel.running == 1)
    asking.close()
    first.close()
    before = await until(received, "ask", "verify")
    assert "decide" not in before
    assert [span.failed for span in before["verify"]] == [True]
    async with running(tmp_path, OFF, second) as system:
        await system.decided(batch.batch_id)
    second.close()
    spans = await until(received, "decide", "write")
    everything = [span for some in spans.values() for span in some]
    assert {span.trace_id for span in everything} == {batch.batch_id.hex}
    _, again = spans["verify"]
    assert not again.failed
    root = trace_ids.ask_span_id(batch.batch_id)
    assert {again.parent_id, spans["decide"][0].parent_id, spans["write"][0].parent_id} == {root}
    assert {span.parent_id for span in spans["verify candidate"]} == {again.span_id}


async def test_every_process_traces_the_same_batches(received: Receiver, tmp_path: Path) -> None:
    asking, recording = tracer_of(received, 0.5), tracer_of(received, 0.5)
    async with running(tmp_path, asking, recording) as system:
        batches = [await system.ask() for _ in range(12)]
        # Some of each kind: chance alone might have it otherwise once in two thousand runs.
        batches += [await system.ask(batch_id=UUID(int=n << 88)) for n in (1, 2**40 - 1)]
        for batch in batches:
            await system.decided(batch.batch_id)
    asking.close()
    recording.close()
    chosen = {b.batch_id.hex for b in batches if trace_ids.sampled(b.batch_id, 0.5)}
    assert 0 < len(chosen) < len(batches)

    def whole(spans: list[Span]) -> bool:
        return {s.trace_id for s in spans if s.name == "write"} >= chosen

    spans = await asyncio.to_thread(received.wait, whole)
    for name in ("ask", "search", "record", "verify", "decide", "write"):
        assert {span.trace_id for span in spans if span.name == name} == chosen, name


async def test_nothing_is_sent_and_no_sdk_imported_while_it_is_off(
    received: Receiver, tmp_path: Path
) -> None:
    assert deployments.open_tracer(Settings(data_dir=tmp_path)) is OFF
    async with running(tmp_path) as system:
        batch = await system.ask()
        await system.decided(batch.batch_id)
    assert received.requests == 0
    code = (
        "import sys, rlvr_ray.pipeline.ask, rlvr_ray.pipeline.aggregator\n"
        "import rlvr_ray.observability.tracing\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.sdk')]"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0


async def test_a_receiver_that_hangs_holds_up_nobody(received: Receiver, tmp_path: Path) -> None:
    received.hold()
    tracer = tracer_of(received)
    async with running(tmp_path, tracer) as system:
        first = await system.ask()
        await asyncio.to_thread(received.wait_for_request)  # from now on its thread waits
        second = await system.ask()
        for batch in (first, second):
            await system.decided(batch.batch_id)
    assert received.spans == []
    lines = "".join(path.read_text() for path in tmp_path.glob("training_data/*.jsonl"))
    assert lines.count("\n") == 6
    await asyncio.to_thread(tracer.close)
    assert received.spans == []


async def test_a_receiver_that_is_away_costs_spans_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracer = OpenTelemetry(TracingSettings(endpoint="http://127.0.0.1:9"))
    async with running(tmp_path, tracer) as system:
        batch = await system.ask()
        await system.decided(batch.batch_id)
    await asyncio.to_thread(tracer.close)
    said = [r for r in caplog.records if "trace_exporter" in r.name]
    assert len(said) <= 1, "once a minute is often enough"


async def test_whoever_asked_is_linked_and_the_span_around_too(
    received: Receiver, tmp_path: Path
) -> None:
    tracer = tracer_of(received)
    around = TracerProvider().get_tracer("serve")
    async with running(tmp_path, tracer) as system:
        with around.start_as_current_span("serve") as span:
            batch = await system.ask(traceparent=CALLER)
        theirs = span.get_span_context()
        plain = await system.ask(traceparent="nonsense")
    tracer.close()
    spans = await asyncio.to_thread(
        received.wait, lambda spans: sum(s.name == "ask" for s in spans) == 2
    )
    links = {span.trace_id: span.links for span in spans if span.name == "ask"}
    assert links[batch.batch_id.hex] == (
        ("a" * 32, "b" * 16),
        (f"{theirs.trace_id:032x}", f"{theirs.span_id:016x}"),
    )
    assert links[plain.batch_id.hex] == ()
    assert not trace.get_current_span().get_span_context().is_valid


async def test_a_consumer_goes_on_with_the_trace(received: Receiver) -> None:
    """As the events' page says: the header's span becomes the parent."""
    recorded = batch()
    header = bodies.headers(bodies.answer_generated(recorded, recorded.candidates[1]).body)
    context = TraceContextTextMapPropagator().extract(header)
    provider = TracerProvider()
    with provider.get_tracer("theirs").start_as_current_span("judge", context) as span:
        theirs = span.get_span_context()
        assert theirs.trace_id == recorded.batch_id.int
        assert theirs.trace_flags.sampled
    tracer = tracer_of(received)
    record_answers(tracer, recorded, datetime.now(UTC))
    tracer.close()
    spans = await until(received, "generate candidate")
    (parent,) = [
        s for s in spans["generate candidate"] if s.attributes["rlvr.candidate_index"] == 1
    ]
    assert isinstance(span, ReadableSpan) and span.parent is not None
    assert f"{span.parent.span_id:016x}" == parent.span_id


async def test_an_ask_that_fails_is_told_as_such(received: Receiver, tmp_path: Path) -> None:
    tracer = tracer_of(received)
    async with running(tmp_path, tracer) as system:
        system.retriever.passages = []
        with pytest.raises(NoDocuments):
            await system.ask()
    tracer.close()
    spans = await until(received, "ask")
    (root,) = spans["ask"]
    assert root.failed
    assert root.attributes["error.type"] == "NoDocuments"
    assert not spans["search"][0].failed
    assert set(spans) == {"ask", "search"}


def test_a_missing_exporter_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(ConfigError, match=r"pip install -e '.\[tracing\]'"):
        deployments.open_tracer(Settings(tracing=TracingSettings(endpoint="http://127.0.0.1:4318")))


def test_serve_s_own_spans_go_to_the_same_place(
    received: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"tracing\.endpoint"):
        serve_spans()
    monkeypatch.setenv("RLVR_TRACING__ENDPOINT", f"{received.url}/v1/traces")
    provider = TracerProvider()
    for processor in serve_spans():
        provider.add_span_processor(processor)
    provider.get_tracer("serve").start_span("proxy").end()
    provider.shutdown()
    assert [span.name for span in received.wait_for("proxy")] == ["proxy"]
    assert received.paths == {"/v1/traces"}


@pytest.mark.parametrize("endpoint", ["localhost:4318", "http://", "grpc://x:4317", ""])
def test_an_endpoint_is_a_url(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        TracingSettings(endpoint=endpoint)


def test_times_are_exact_to_the_microsecond(received: Receiver) -> None:
    tracer = tracer_of(received)
    start = datetime(2026, 3, 14, 9, 26, 53, 123457, UTC)
    tracer.record("step", uuid4(), start, start, {})
    tracer.close()
    (span,) = received.wait_for("step")
    assert span.start == span.end == 1_773_480_413_123_457_000
