"""Held-out questions of a training: asked before and after, scored by the application."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from rlvr_ray.core import ids, scoring
from rlvr_ray.core.concurrency import gather
from rlvr_ray.core.errors import InputError, Overloaded, Unavailable
from rlvr_ray.core.questions import Question, Refused
from rlvr_ray.core.records import Context, Verification
from rlvr_ray.core.retry import Backoff
from rlvr_ray.documents.retriever import Query, Retriever
from rlvr_ray.generation.prompts import rag_messages
from rlvr_ray.pipeline.recorder import Recorder
from rlvr_ray.training import report as training_report
from rlvr_ray.training.dpo import SIDES, Messages, question_of
from rlvr_ray.training.inputs import Export
from rlvr_ray.verification.verifier import Claim, Panel

T = TypeVar("T")

#: Questions that are verified at once.
AT_ONCE = 4
#: Tries of a verification that meets a part which is down or has too much to do, and the first
#: pause between two of them in seconds; each further one is twice as long.
TRIES, PAUSE_S = 5, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A question to be asked before and after. None of it is known to the training."""

    question: str
    prompt: Messages
    batch_id: str | None = None  #: the ledger's, which knows passages and references
    references: tuple[str, ...] = ()
    contexts: tuple[str, ...] | None = None  #: that its prompt holds; None: not known here
    retrieval_score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """The parts of the running application that are needed here."""

    panel: Panel
    retriever: Retriever
    recorder: Recorder
    top_k: int
    min_score_diff: float  #: what makes a difference between two scores; the pairs' own bound


def from_eval(export: Export, limit: int) -> list[HeldOut]:
    """The first questions of the eval file."""
    return [
        HeldOut(question=question_of(prompt), prompt=prompt, batch_id=batch_id)
        for batch_id, prompt in export.held_out[:limit]
    ]


async def from_questions(
    found: Iterable[Question | Refused], style: str, limit: int, application: Application | None
) -> tuple[list[HeldOut], list[str]]:
    """The first questions of a file, asked as the export asks, and what was refused before them.

    Raises InputError where prompts want passages and there is no application to find them.
    """
    if style == "rag-messages" and application is None:
        raise InputError(
            "the export's prompts have passages, and only the application can find some for "
            "--questions: add --verify, or leave out --questions"
        )
    held_out: list[HeldOut] = []
    refused: list[str] = []
    for each in found:
        if isinstance(each, Refused):
            refused.append(str(each))
            continue
        prompt: Messages = [{"role": "user", "content": each.text}]
        contexts: Sequence[Context] = ()
        if style == "rag-messages":
            assert application is not None
            query = Query(text=each.text, top_k=application.top_k)
            (contexts,) = await application.retriever.search([query])
            if not contexts:
                raise InputError("no documents are ingested: rlvr ingest PATH")
            prompt = [
                {"role": message.role, "content": message.content}
                for message in rag_messages(each.text, contexts)
            ]
        held_out.append(
            HeldOut(
                question=each.text,
                prompt=prompt,
                references=() if each.reference is None else (each.reference,),
                contexts=tuple(context.content for context in contexts) if contexts else None,
                retrieval_score=_best(contexts),
            )
        )
        if len(held_out) == limit:
            break
    return held_out, refused


def asked(
    held_out: Sequence[HeldOut], before: Sequence[str], after: Sequence[str]
) -> list[dict[str, Any]]:
    """The report's questions, without scores; all that scoring them later needs is in them."""
    return [
        {
            "question": each.question,
            "batch_id": each.batch_id,
            "references": list(each.references),
            "contexts": None if each.contexts is None else list(each.contexts),
            "retrieval_score": each.retrieval_score,
            "before": {"answer": one},
            "after": {"answer": other},
        }
        for each, one, other in zip(held_out, before, after, strict=True)
    ]


async def score(report: dict[str, Any], application: Application) -> None:
    """Have the application's verifiers score the report's answers; replaces earlier scores.

    Raises Unavailable or Overloaded where it cannot work now; then the report is as it was.
    """
    questions = report["answers"]["questions"]
    room = asyncio.Semaphore(AT_ONCE)

    async def one(question: Mapping[str, Any]) -> list[dict[str, Any]]:
        async with room:
            return await _scored(question, report["data"]["prompt"], application)

    scored = await gather(*(one(question) for question in questions))
    report["answers"]["questions"] = [
        {**question, **dict(zip(SIDES, sides, strict=True))}
        for question, sides in zip(questions, scored, strict=True)
    ]
    training_report.summarise(report, "", application.min_score_diff)


async def _scored(
    question: Mapping[str, Any], style: str, application: Application
) -> list[dict[str, Any]]:
    """Both answers with their scores, or with the reason why there is none."""
    material = await _again(_material, question, style, application)
    answers = [question[side]["answer"] for side in SIDES]
    if isinstance(material, str):
        return [{"answer": answer, "not_scored": material} for answer in answers]
    contexts, references, retrieval_score = material
    # Both in one call: verifiers take what has a question and contexts in common as one batch.
    # The same answer is asked about once: a judge need not say the same twice.
    claims = {
        answer: Claim(
            answer_event_id=ids.derive("training", question["question"], answer),
            question=question["question"],
            answer=answer,
            contexts=contexts,
            references=references,
            retrieval_score=retrieval_score,
        )
        for answer in answers
    }
    results = await _again(application.panel.verify, list(claims.values()))
    scores = {answer: _score_of(result) for answer, result in zip(claims, results, strict=True)}
    return [{"answer": answer, **scores[answer]} for answer in answers]


def _score_of(result: Any) -> dict[str, Any]:
    if not isinstance(result, Verification):
        return {"not_scored": str(result)}
    return {
        "score": scoring.score(result),
        "faithfulness": result.faithfulness,
        "relevancy": result.relevancy,
        "verifiers": [assessment.verifier for assessment in result.assessments],
    }


async def _material(
    question: Mapping[str, Any], style: str, application: Application
) -> tuple[tuple[str, ...], tuple[str, ...], float | None] | str:
    """Contexts, references and best cosine; or why there are none.

    Known from the prompt, or from the batch that the pair was made of; a bare question can be
    searched for now.
    """
    references = tuple(question["references"])
    if question["contexts"] is not None:
        return tuple(question["contexts"]), references, question["retrieval_score"]
    if question["batch_id"] is not None:
        state = await application.recorder.find(UUID(question["batch_id"]))
        if state is not None:
            found = state.batch.contexts
            return tuple(c.content for c in found), state.batch.references, _best(found)
    if style == "rag-messages":
        return "the passages of its prompt are not in this application's ledger"
    query = Query(text=question["question"], top_k=application.top_k)
    (contexts,) = await application.retriever.search([query])
    if not contexts:
        return "the application has no documents"
    return tuple(c.content for c in contexts), references, _best(contexts)


def _best(contexts: Sequence[Context]) -> float | None:
    return max((context.score for context in contexts), default=None)


async def _again(call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Try again while a part is down or has too much to do."""
    failures = 0

    def is_temporary(error: BaseException) -> bool:
        nonlocal failures
        failures += 1
        return failures < TRIES and isinstance(error, Overloaded | Unavailable)

    backoff = Backoff(first_s=PAUSE_S, longest_s=PAUSE_S * 2**TRIES)
    async for attempt in backoff.attempts(is_temporary, lambda *_: None):
        with attempt:
            return await call(*arguments)
    raise AssertionError("the last try returns or raises")
