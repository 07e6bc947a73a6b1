"""Whether a judge is used for the contexts of a call, by its verdicts on controls."""

from collections.abc import Iterator, Sequence

from rlvr_ray.core.errors import JudgeError
from rlvr_ray.verification.controls import Controls, controls
from rlvr_ray.verification.verifier import Claim
from rlvr_ray.verification.verifiers.ragas.judge import mark_of

#: What the record says where no control could be made.
NONE = "the contexts hold nothing to control the judge by"


class Controlled:
    """One pair of controls for all claims with the same question and contexts."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        together: dict[str, list[Claim]] = {}
        for claim in claims:
            together.setdefault(mark_of(claim), []).append(claim)
        self._first = {mark: same[0] for mark, same in together.items()}
        self._controls: dict[str, Controls | None] = {
            mark: controls(mark, same[0].contexts, [claim.answer for claim in same])
            for mark, same in together.items()
        }
        self._problems: dict[str, str | None] = {}

    def statements(self) -> Iterator[tuple[Claim, str]]:
        """What is to be put to the judge, each with a claim that has the material."""
        for mark, pair in self._controls.items():
            if pair is not None:
                yield self._first[mark], pair.supported
                yield self._first[mark], pair.unsupported

    def judged(self, verdicts: Sequence[float | JudgeError]) -> None:
        """Take the verdicts on ``statements``, in their order."""
        found = iter(verdicts)
        for mark, pair in self._controls.items():
            if pair is None:
                continue
            both = (next(found), next(found))
            error = next((value for value in both if isinstance(value, JudgeError)), None)
            self._problems[mark] = (
                f"the judge is not believed here: of a control, {error}"
                if error
                else pair.objection(*both)  # type: ignore[arg-type]
            )

    def note(self, claim: Claim) -> str:
        """What the record is to say; raises JudgeError where the judge is not believed."""
        mark = mark_of(claim)
        if problem := self._problems.get(mark):
            raise JudgeError(problem)
        return NONE if self._controls[mark] is None else ""
