"""The routes that ask a question, for several answers or one."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from rlvr_ray.client.models.batches import AskDefaults, OneAnswer, SeveralAnswers
from rlvr_ray.client.watch import Submitted
from rlvr_ray.core.records import Kind
from rlvr_ray.serve.http import replies
from rlvr_ray.serve.http.asking import Asking
from rlvr_ray.serve.http.bodies import (
    Key,
    MultiCandidateBody,
    Prefer,
    QuestionBody,
    Traceparent,
)
from rlvr_ray.serve.http.services import Services
from rlvr_ray.settings import Settings


def routes(settings: Settings, services: Services) -> APIRouter:
    """Asks."""
    router = APIRouter(tags=["questions"])
    asking = Asking(settings, services)

    @router.post(
        "/ask/multi-candidate",
        response_model=SeveralAnswers,
        responses={202: {"model": Submitted, "description": "It is being answered."}},
    )
    async def ask_multi_candidate(
        body: MultiCandidateBody,
        key: Key = None,
        prefer: Prefer = None,
        traceparent: Traceparent = None,
    ) -> Any:
        """Several answers to one question. They are verified next, and may become a pair.

        With `Prefer: respond-async` the reply is a 202 as soon as the passages are found, and the
        answers can be watched at `events` while they are written.
        """
        ask = asking.of(
            body, key, Kind.PREFERENCE, body.num_candidates, body.temperatures, traceparent
        )
        if prefer is not None and "respond-async" in prefer:
            await asking.begin(ask)
            where = f"/batches/{ask.batch_id}"
            submitted = Submitted(
                batch_id=str(ask.batch_id),
                correlation_id=ask.correlation_id,
                question=ask.question,
                events=f"{where}/events",
            )
            headers = {"Location": where, "Preference-Applied": "respond-async"}
            return JSONResponse(submitted.to_json(), 202, headers)
        batch = await asking.ask(ask)
        return {
            **replies.asked(batch),
            "candidates": [replies.answer(candidate) for candidate in batch.candidates],
            "num_candidates": len(batch.candidates),
        }

    @router.get("/ask/defaults")
    async def get_defaults() -> AskDefaults:
        """Defaults of the fields that an ask leaves out."""
        return AskDefaults(
            num_candidates=MultiCandidateBody.model_fields["num_candidates"].default,
            temperatures=settings.generator.temperatures,
            top_k=settings.retrieval.top_k,
        )

    @router.post("/ask", response_model=OneAnswer)
    async def ask_once(body: QuestionBody, key: Key = None, traceparent: Traceparent = None) -> Any:
        """One answer. It is verified and kept as training data; it makes no pair."""
        batch = await asking.ask(asking.of(body, key, Kind.SINGLE, 1, None, traceparent))
        return {**replies.asked(batch), **replies.answer(batch.candidates[0])}

    return router
