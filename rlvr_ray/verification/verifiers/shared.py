"""Shared by verifiers: options, scores, records."""

import hashlib
import inspect
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from rlvr_ray.core.errors import ConfigError, JudgeError
from rlvr_ray.core.records import COSINE_ERROR
from rlvr_ray.settings import errors
from rlvr_ray.verification.verifier import Claim

#: Characters of a quoted text.
_QUOTED = 80


class Options(BaseModel):
    """A verifier's options: a subclass has them as fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Chosen = TypeVar("Chosen", bound=Options)


def read_options(model: type[Chosen], name: str, options: Mapping[str, Any]) -> Chosen:
    """The options of the verifier ``name``, checked; raises ConfigError."""
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        known = ", ".join(field.alias or key for key, field in model.model_fields.items())
        problems: list[str] = []
        for problem in error.errors(include_url=False):
            option = ".".join(map(str, problem["loc"]))
            if problem["type"] == "extra_forbidden":
                problems.append(f"there is no option {quote(option)}; it takes {known or 'none'}")
            elif problem["type"] == "missing":
                problems.append(f"option {option} is missing")
            else:
                problems.append(f"option {option}: {errors.reason(problem)}")
        raise ConfigError(f"verifier {name}: {'; '.join(problems)}") from None


def code_version(*modules: ModuleType, options: str = "") -> str:
    """Hash of all that shapes a score: the code of these modules, and options."""
    texts = [*map(inspect.getsource, modules), options]
    return hashlib.sha256("\0".join(texts).encode("utf-8", "backslashreplace")).hexdigest()[:12]


def check_claim(claim: Claim) -> None:
    """Raise JudgeError where there is nothing to judge, or nothing to judge it by."""
    if not claim.answer.strip():
        raise JudgeError("the answer is empty")
    if not any(context.strip() for context in claim.contexts):
        raise JudgeError("there are no contexts to be faithful to")


def unit(name: str, value: float, least: float = 0.0) -> float:
    """A score in [0, 1], or JudgeError: NaN is RAGAS's way to say that it does not know.

    ``least`` is -1 for a mean cosine: what points away from the question is not relevant to it.
    """
    if not least - COSINE_ERROR <= value <= 1 + COSINE_ERROR:  # false of NaN too
        raise JudgeError(f"{name} came out as {value}, which is no score")
    return float(min(max(value, 0.0), 1.0))


def since(started: float) -> int:
    """Milliseconds since a time of the monotonic clock."""
    return round((time.monotonic() - started) * 1000)


def quote(text: str) -> str:
    """A text in quotes, on one line and shortened, that every file can hold."""
    line = " ".join(text[: 5 * _QUOTED].split())
    line = line if len(line) <= _QUOTED else line[: _QUOTED - 4] + " ..."
    return f"'{line.encode('utf-8', 'backslashreplace').decode().replace(chr(0), '?')}'"
