"""What the guards around a language model's verdicts cost: CPU of a question of three answers.

    python -m tests.bench.guards

The judge answers at once, so that what is measured is ours alone: screening, abstention, controls,
and what is foreign to the contexts. "Without" is the same panel without them. Passages are warm, as
those of a running system are; answers are new each time.
"""

import asyncio
import math
import statistics
import time
from collections.abc import Sequence

from rlvr_ray.core import ids
from rlvr_ray.core.errors import InputError
from rlvr_ray.core.records import NO_TOKENS, Verification
from rlvr_ray.documents.minilm import MiniLM
from rlvr_ray.generation.generator import Completion, Prompt
from rlvr_ray.settings import Settings, VerificationSettings, VerifierSettings
from rlvr_ray.verification import abstention, statements
from rlvr_ray.verification.factory import build_panel
from rlvr_ray.verification.panel import WeightedPanel
from rlvr_ray.verification.verifier import Claim
from rlvr_ray.verification.verifiers.ragas import controlled

QUESTIONS, WARM = 200, 20
ANSWERS = (
    "The Corvin tram was opened in {n}. It runs from Mill Square to the harbour.",
    "Its {n} stops lie between the harbour and Mill Square. Dogs travel free of charge.",
    "Drivers of the tram sell the tickets, {n} of them a day. Dogs travel free.",
)
PASSAGES = tuple(
    f"The Corvin tram, line {n}, was opened in {1900 + n}. It has {10 + n} stops and runs from "
    "Mill Square to the harbour. Tickets are sold by the drivers, and dogs travel free of charge. "
    "In winter the cars are heated with water from the laundry at the terminus. It was closed "
    "between the wars, when the bridge over the Aller was rebuilt in stone."
    for n in range(5)
)


class Judge:
    """A Generator that finds everything likely, at once."""

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        """A verdict a prompt."""
        return [[LIKELY] for _ in prompts]


LIKELY = Completion(
    text="1",
    finish_reason="stop",
    model="judge",
    usage=NO_TOKENS,
    logprobs=({"1": math.log(0.6), "0": math.log(0.4)},),
)


def _claims(question: int) -> list[Claim]:
    return [
        Claim(
            answer_event_id=ids.derive("bench", str(question), answer),
            question=f"When was line {question % 5} of the Corvin tram opened?",
            answer=answer.format(n=question),
            contexts=PASSAGES,
            retrieval_score=0.7,
        )
        for answer in ANSWERS
    ]


async def _measure(panel: WeightedPanel) -> float:
    """Milliseconds of CPU a question, the median."""
    spent = []
    for number in range(WARM + QUESTIONS):
        claims = _claims(number)
        started = time.process_time()
        results = await panel.verify(claims)
        spent.append(1000 * (time.process_time() - started))
        assert all(isinstance(result, Verification) for result in results), results
    return statistics.median(spent[WARM:])


async def main() -> None:
    """Print three figures."""
    embedder = MiniLM()
    verification = VerificationSettings(verifiers=(VerifierSettings(name="logprob"),))
    settings = Settings(verification=verification)
    with_guards = await _measure(build_panel(settings, Judge(), embedder))
    for module, name, nothing in (
        (controlled, "controls", None),
        (statements, "strange", []),
        (abstention, "abstains", False),
    ):
        setattr(module, name, lambda *_, nothing=nothing: nothing)
    bare = settings.model_copy(
        update={"verification": settings.verification.model_copy(update={"screening": False})}
    )
    without = await _measure(build_panel(bare, Judge(), embedder))
    print(f"with guards {with_guards:.2f} ms, without {without:.2f} ms a question of three answers")
    print(f"the guards: {with_guards - without:.2f} ms of CPU")


if __name__ == "__main__":
    asyncio.run(main())
