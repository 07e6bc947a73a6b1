"""RAGAS as the judge, and cheaper ways to what it measures: ``ragas``, ``logprob``, ``grounded``.

All three give faithfulness and relevancy, and the score is their mean. They differ in who gives the
verdicts on an answer's statements: a language model in words (``ragas``), the probabilities of its
verdict tokens (``logprob``), or evidence in the contexts without one (``grounded``).
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from rlvr_ray.core.errors import ConfigError
from rlvr_ray.settings import errors
from rlvr_ray.verification.verifier import Equipment, Verifier
from rlvr_ray.verification.verifiers.ragas.contexts import AskedContexts
from rlvr_ray.verification.verifiers.ragas.grounded import GroundedVerifier
from rlvr_ray.verification.verifiers.ragas.logprob import LogprobOptions, LogprobVerifier
from rlvr_ray.verification.verifiers.ragas.verifier import VerifierOptions
from rlvr_ray.verification.verifiers.ragas.worded import RagasVerifier

__all__ = ["AskedContexts", "grounded", "logprob", "ragas"]

Options = TypeVar("Options", bound=VerifierOptions)


def ragas(equipment: Equipment, options: Mapping[str, Any]) -> Verifier:
    """RAGAS as it is. For judges of some 3B parameters or more."""
    _options(VerifierOptions, "ragas", options)
    return RagasVerifier(equipment)


def logprob(equipment: Equipment, options: Mapping[str, Any]) -> Verifier:
    """RAGAS's questions, answered by the probability of the verdict instead of a text."""
    return LogprobVerifier(equipment, _options(LogprobOptions, "logprob", options))


def grounded(equipment: Equipment, options: Mapping[str, Any]) -> Verifier:
    """Evidence in the contexts, and no language model."""
    _options(VerifierOptions, "grounded", options)
    return GroundedVerifier(equipment)


def _options(kind: type[Options], name: str, options: Mapping[str, Any]) -> Options:
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        problems = "; ".join(errors.problem(each, kind) for each in error.errors())
        known = ", ".join(kind.model_fields) or "none"
        raise ConfigError(f"options of {name}: {problems} (it has: {known})") from None
