"""Stand-ins for the parts behind protocols, for faults and latency only.

Each can fail a number of times, hang until let go, and tell what it was asked. What is not about
faults or latency is tested with the real parts.
"""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from rlvr_ray.core import ids
from rlvr_ray.core.errors import InputError, JudgeError, KeyReused
from rlvr_ray.core.records import NO_TOKENS, Assessment, Batch, Context, Usage, Verification
from rlvr_ray.dataset.state import BatchState, OutcomeSummary
from rlvr_ray.documents.retriever import Chunk, Document, Ingested, Passage, Query, Stored
from rlvr_ray.events.outbox import Posted
from rlvr_ray.generation.generator import Completion, CompletionChunk, FinishReason, Prompt, Sample
from rlvr_ray.observability.metrics import METRICS
from rlvr_ray.pipeline.live import Acknowledgement, LiveEvent, LiveHub
from rlvr_ray.verification.verifier import Claim, StreamingPanel
from tests.builders import candidate, context, verification
from tests.patience import PATIENCE_S


class Faulty:
    """What all fakes share.

    ``failures`` are raised by the next calls, one each; ``hang`` holds every call until
    ``release``; ``calls``, ``running``, ``most_running`` and ``cancelled`` count. What comes in
    steps also hangs by itself after ``hangs_after`` more of them.
    """

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self.hangs_after: int | None = None
        self.calls = 0
        self.running = 0
        self.most_running = 0
        self.cancelled = 0
        self._go = asyncio.Event()
        self._go.set()
        self._changed = asyncio.Event()

    def hang(self) -> None:
        """Hold all calls, those to come included."""
        self._go.clear()

    def release(self) -> None:
        """Let all calls go on."""
        self._go.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition over the counters holds; AssertionError if it never does."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            counts = f"{self.calls} calls, {self.running} running, {self.cancelled} cancelled"
            raise AssertionError(f"after {PATIENCE_S:g} s it still has {counts}") from None

    async def _step(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self.hangs_after == 0:
            self.hang()
        self.hangs_after = self.hangs_after - 1 if self.hangs_after else None
        await self._go.wait()

    @contextlib.asynccontextmanager
    async def _call(self) -> AsyncIterator[None]:
        self.calls += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self._changed.set()
        try:
            if self.failures:
                raise self.failures.pop(0)
            await self._go.wait()
            await asyncio.sleep(0)  # others get their turn, as with a real part
            yield
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
            self._changed.set()


Reply = Completion | str
Script = Callable[[Prompt], Sequence[Reply] | InputError]


def completion(
    text: str,
    finish_reason: FinishReason = "stop",
    logprobs: Sequence[Mapping[str, float]] = (),
    **usage: int,
) -> Completion:
    tokens = {"prompt_tokens": 50, "completion_tokens": 7, "cached_tokens": 0} | usage
    return Completion(
        text=text,
        finish_reason=finish_reason,
        model="fake-model",
        usage=Usage(**tokens),
        logprobs=tuple(logprobs),
    )


def _numbered(prompt: Prompt) -> list[Reply]:
    return [f"answer {n} with seed {s.seed}" for n, s in enumerate(prompt.samples)]


class FakeGenerator(Faulty):
    """A Generator: ``script`` says what it writes to a prompt, one text for each sample.

    Each piece of a streamed answer is a step.
    """

    def __init__(self, script: Script = _numbered) -> None:
        super().__init__()
        self.script = script
        self.prompts: list[Prompt] = []
        self.down: Exception | None = None  #: what ``check`` raises
        self.piece_s = 0.0

    @property
    def samples(self) -> list[Sample]:
        """All samples asked for so far."""
        return [sample for prompt in self.prompts for sample in prompt.samples]

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        self.prompts += prompts
        async with self._call():
            return [self._answer(prompt) for prompt in prompts]

    async def stream(self, prompt: Prompt) -> AsyncGenerator[CompletionChunk]:
        """Word by word, the samples in turn; ``piece_s`` seconds between two pieces."""
        self.prompts.append(prompt)
        async with self._call():
            answers = self._answer(prompt)
        if isinstance(answers, InputError):
            raise answers
        words = [answer.text.split(" ") for answer in answers]
        for place in range(max(map(len, words))):
            for sample, of_sample in enumerate(words):
                if place < len(of_sample):
                    last = place == len(of_sample) - 1
                    text = of_sample[place] if last else f"{of_sample[place]} "
                    await self._step(self.piece_s)
                    yield CompletionChunk(
                        sample=sample, text=text, completion=answers[sample] if last else None
                    )

    async def check(self) -> str:
        if self.down is not None:
            raise self.down
        await self._go.wait()
        return "fake-model"

    def _answer(self, prompt: Prompt) -> list[Completion] | InputError:
        replies = self.script(prompt)
        if isinstance(replies, InputError):
            return replies
        assert len(replies) == len(prompt.samples), f"the script gave {replies} for {prompt}"
        return [completion(r) if isinstance(r, str) else r for r in replies]


class FakeVerifier(Faulty):
    """A Verifier: ``result`` says what it makes of a claim."""

    def __init__(self, result: Callable[[Claim], Assessment | JudgeError | None]) -> None:
        super().__init__()
        self._result = result
        self.claims: list[Sequence[Claim]] = []

    async def verify(self, claims: Sequence[Claim]) -> list[Assessment | JudgeError | None]:
        self.claims.append(claims)
        async with self._call():
            return [self._result(claim) for claim in claims]


Verdict = Verification | JudgeError


class FakePanel(Faulty):
    """A Panel: ``scores`` maps an answer to its score, or to the reason of its failure.

    A score is that of both metrics; answers that are not named get 0.8. ``result``, if given,
    decides instead.
    """

    def __init__(
        self,
        scores: Mapping[str, float | str] | None = None,
        result: Callable[[Claim], Verdict] | None = None,
    ) -> None:
        super().__init__()
        self._scores = scores or {}
        self._result = result or self._scored
        self.claims: list[Sequence[Claim]] = []

    async def verify(self, claims: Sequence[Claim]) -> list[Verdict]:
        self.claims.append(claims)
        async with self._call():
            return [self._result(claim) for claim in claims]

    async def stream(self, claims: Sequence[Claim]) -> AsyncGenerator[tuple[UUID, Verdict]]:
        self.claims.append(claims)
        for claim in claims:
            async with self._call():
                result = self._result(claim)
            yield claim.answer_event_id, result

    def _scored(self, claim: Claim) -> Verdict:
        score = self._scores.get(claim.answer, 0.8)
        return JudgeError(score) if isinstance(score, str) else verified(claim, score, score)


class FaultyPanel(Faulty):
    """A Panel before another one: ``result_s`` seconds pass before each result, which is a step."""

    def __init__(self, panel: StreamingPanel, result_s: float = 0.0) -> None:
        super().__init__()
        self._panel = panel
        self.result_s = result_s

    async def verify(self, claims: Sequence[Claim]) -> list[Verdict]:
        async with self._call():
            await asyncio.sleep(self.result_s * len(claims))
            return await self._panel.verify(claims)

    async def stream(self, claims: Sequence[Claim]) -> AsyncGenerator[tuple[UUID, Verdict]]:
        async with self._call(), contextlib.aclosing(self._panel.stream(claims)) as results:
            async for result in results:
                await self._step(self.result_s)
                yield result


def verified(claim: Claim, faithfulness: float, relevancy: float) -> Verification:
    subject = candidate(uuid4(), 0, claim.answer, event_id=claim.answer_event_id)
    return verification(subject, faithfulness, relevancy)


class FakeRetriever(Faulty):
    """A Retriever over fixed passages; ingesting only notes what it was given."""

    def __init__(self, passages: Sequence[Context] | None = None) -> None:
        super().__init__()
        self.passages = [context()] if passages is None else list(passages)
        self.queries: list[Query] = []
        self.texts: dict[str, str] = {}

    async def search(self, queries: Sequence[Query]) -> list[list[Context]]:
        self.queries += queries
        async with self._call():
            return [self.passages[: query.top_k] for query in queries]

    async def ingest(self, documents: Sequence[Document]) -> list[Ingested]:
        async with self._call():
            return [self._ingest(document) for document in documents]

    async def count(self) -> int:
        async with self._call():
            return len(self.passages)

    async def documents(self) -> list[Stored]:
        async with self._call():
            counts = Counter(
                (p.metadata["source"], p.metadata["document_id"]) for p in self.passages
            )
            return [
                Stored(document_id=UUID(str(name)), source=str(source), num_chunks=count)
                for (source, name), count in sorted(counts.items())
            ]

    async def delete(self, document_id: UUID) -> bool:
        async with self._call():
            left = [p for p in self.passages if p.metadata["document_id"] != str(document_id)]
            found = len(left) < len(self.passages)
            self.passages = left
            return found

    async def chunks(self, first: UUID | None, limit: int) -> tuple[list[Chunk], UUID | None]:
        async with self._call():
            stored = sorted(self._stored(), key=lambda passage: passage.chunk_id)
            left = [p for p in stored if first is None or p.chunk_id >= first]
            found = [
                Chunk(chunk_id=p.chunk_id, document_id=UUID(p.metadata["document_id"]))
                for p in left[:limit]
            ]
            return found, left[limit].chunk_id if len(left) > limit else None

    async def fetch(self, chunk_ids: Sequence[UUID]) -> list[Passage]:
        async with self._call():
            stored = {passage.chunk_id: passage for passage in self._stored()}
            return [stored[each] for each in chunk_ids if each in stored]

    def _stored(self) -> list[Passage]:
        return [
            Passage(
                chunk_id=ids.derive(c.metadata["document_id"], c.metadata["chunk_index"]),
                content=c.content,
                metadata=c.metadata,
            )
            for c in self.passages
        ]

    def _ingest(self, document: Document) -> Ingested:
        changed = self.texts.get(document.source) != document.text
        self.texts[document.source] = document.text
        return Ingested(
            document_id=ids.derive("document", document.source),
            source=document.source,
            num_chunks=1,
            content_id=ids.derive(document.text),
            changed=changed,
        )


class FakeRecorder(Faulty):
    """A Recorder in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[UUID, BatchState] = {}
        self.reserved: dict[UUID, str] = {}
        #: What ``outcomes`` tells of a batch: how it was decided.
        self.outcome: Callable[[Batch], str | None] = lambda batch: "pair"
        self.documents: list[Ingested] = []
        self.full: Exception | None = None  #: what ``admit`` raises
        self.live = LiveHub(self._known)

    async def record(self, batches: Sequence[Batch]) -> list[Batch]:
        async with self._call():
            states = [
                self.states.setdefault(
                    batch.batch_id, BatchState(batch=batch, results={}, outcome=None)
                )
                for batch in batches
            ]
        for state in states:
            self.live.state(state)
        return [state.batch for state in states]

    async def _known(self, batch_id: UUID) -> BatchState | None:
        return self.states.get(batch_id)

    async def find(self, batch_id: UUID) -> BatchState | None:
        async with self._call():
            return self.states.get(batch_id)

    async def reserve(self, batch_id: UUID, fingerprint: str) -> BatchState | None:
        state = await self.find(batch_id)
        if state is None and self.reserved.setdefault(batch_id, fingerprint) != fingerprint:
            raise KeyReused
        return state

    async def outcomes(self, batch_ids: Sequence[UUID]) -> dict[UUID, OutcomeSummary | None]:
        async with self._call():
            known = [self.states[each].batch for each in batch_ids if each in self.states]
            return {batch.batch_id: self._summary(batch) for batch in known}

    async def of_run(
        self, run: str, after: int, limit: int
    ) -> tuple[dict[UUID, OutcomeSummary | None], int | None]:
        async with self._call():
            batches = [state.batch for state in self.states.values()]
            mine = [batch for batch in batches if batch.correlation_id == run]
            found = mine[after : after + limit]
            more = after + limit if len(mine) > after + limit else None
            return {batch.batch_id: self._summary(batch) for batch in found}, more

    def _summary(self, batch: Batch) -> OutcomeSummary | None:
        outcome = self.outcome(batch)
        if outcome is None:
            return None
        return OutcomeSummary(
            reason=None if outcome == "pair" else outcome,
            margins=(0.5,) if outcome == "pair" else (),
            answers=sum((each.usage for each in batch.candidates), NO_TOKENS),
            judging=Usage(prompt_tokens=100, completion_tokens=10),
        )

    async def admit(self) -> None:
        if self.full:
            raise self.full

    async def ingested(self, documents: Sequence[Ingested]) -> None:
        self.documents += documents

    async def publish_live(
        self, batch_id: UUID, publisher: str, events: Sequence[LiveEvent], opens: bool
    ) -> Acknowledgement:
        return self.live.publish(batch_id, publisher, events, opens=opens)

    async def watch(self, batch_id: UUID, last_id: str | None, wait_s: float) -> list[LiveEvent]:
        return await self.live.watch(batch_id, last_id, wait_s)

    async def stats(self) -> dict[str, Any]:
        async with self._call():
            return {"batches": {"open": len(self.states)}, "last_error": None}


class FakePublisher(Faulty):
    """A Publisher: ``published`` is what the broker confirmed, ``sent`` what it was given.

    A call that fails, or is cancelled while it hangs, confirms nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[list[int]] = []  #: sequence numbers, by call
        self.published: list[Posted] = []
        self.closed = 0

    async def publish(self, events: Sequence[Posted]) -> None:
        self.sent.append([posted.seq for posted in events])
        async with self._call():
            self.published += events

    async def close(self) -> None:
        self.closed += 1


class FakeMeter:
    """A Meter in memory: the same checks as with the real one, and sums to look at.

    ``counters`` and ``observed`` are keyed by name and tag values, in the order of the tags.
    """

    def __init__(self) -> None:
        self.counters: Counter[tuple[str, ...]] = Counter()
        self.observed: dict[tuple[str, ...], list[float]] = {}
        self.gauges: dict[str, float] = {}

    def add(self, name: str, amount: float, **tags: str) -> None:
        assert METRICS[name].kind == "counter" and amount >= 0
        self.counters[self._key(name, tags)] += amount  # type: ignore[assignment]

    def observe(self, name: str, value: float, **tags: str) -> None:
        assert METRICS[name].kind == "histogram"
        self.observed.setdefault(self._key(name, tags), []).append(value)

    def set(self, name: str, value: float) -> None:
        assert METRICS[name].kind == "gauge"
        self.gauges[name] = value

    def _key(self, name: str, tags: Mapping[str, str]) -> tuple[str, ...]:
        fitting = METRICS[name].fitting(tags)
        assert set(fitting) == set(METRICS[name].tags or ()), f"{name} needs all of its tags"
        return name, *(fitting[tag] for tag in METRICS[name].tags or ())


class FakeEmbedder:
    """An Embedder of words: the same words give the same vector, other words another one.

    ``vectors`` fixes those of single texts, which then need not be of unit length, nor numbers.
    """

    name = "fake-embedder"

    def __init__(
        self, vectors: Mapping[str, Sequence[float]] | None = None, dimensions: int = 32
    ) -> None:
        self.vectors = dict(vectors or {})
        self.dimensions = dimensions
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        return np.array([self._vector(text) for text in texts], dtype=np.float32).reshape(
            len(texts), self.dimensions
        )

    def _vector(self, text: str) -> NDArray[np.float64]:
        if text in self.vectors:
            fixed = np.zeros(self.dimensions)
            fixed[: len(self.vectors[text])] = self.vectors[text]
            return fixed
        total = np.zeros(self.dimensions)
        for word in text.casefold().split() or [""]:
            digest = hashlib.sha256(word.encode()).digest()
            total += np.random.default_rng(int.from_bytes(digest[:8])).standard_normal(
                self.dimensions
            )
        return total / np.linalg.norm(total)
