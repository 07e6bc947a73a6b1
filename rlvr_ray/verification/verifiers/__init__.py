"""Verifiers: one file or folder each; the built-in ones are listed in ``BUILT_IN``.

To add one here, write a file with a function ``create(context, options)``, or ``create(options)``
if it needs no context, and one entry below. Other packages provide verifiers by entry points of the
group ``rlvr_ray.verifiers`` (docs/rewards.md). RAGAS is imported when one of its verifiers is made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from rlvr_ray.core.errors import ConfigError
from rlvr_ray.verification.verifier import ContextJudge, Verifier, VerifierContext, VerifierFactory
from rlvr_ray.verification.verifiers import exact, grounded, json_schema, numeric, regex

#: The group of entry points that others' verifiers are found in.
GROUP = "rlvr_ray.verifiers"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltIn:
    """A verifier that comes with rlvr_ray."""

    create: VerifierFactory
    asks_judge: bool = False  #: else it does without a language model
    #: Raises ConfigError for wrong options, before anything is started; None where it takes more.
    check_options: Callable[[Mapping[str, Any]], object] | None = None


def _ragas(context: VerifierContext, options: Mapping[str, Any]) -> Verifier:
    from rlvr_ray.verification.verifiers.ragas import worded

    return worded.create(context, options)


def _logprob(context: VerifierContext, options: Mapping[str, Any]) -> Verifier:
    from rlvr_ray.verification.verifiers.ragas import logprob

    return logprob.create(context, options)


def _rule(create: Callable[[Mapping[str, Any]], Verifier]) -> BuiltIn:
    return BuiltIn(create=lambda context, options: create(options), check_options=create)


BUILT_IN = {
    "ragas": BuiltIn(create=_ragas, asks_judge=True),
    "logprob": BuiltIn(create=_logprob, asks_judge=True),
    "grounded": BuiltIn(create=grounded.create),
    "exact": _rule(exact.create),
    "numeric": _rule(numeric.create),
    "regex": _rule(regex.create),
    "json_schema": _rule(json_schema.create),
}


def asks_judge(name: str) -> bool:
    """Whether the verifier may ask a language model; another's may."""
    return name not in BUILT_IN or BUILT_IN[name].asks_judge


def check(name: str, options: Mapping[str, Any]) -> None:
    """Raise ConfigError for a verifier that is not there, or options that a rule refuses."""
    built_in = _built_in(name)
    if built_in is None:
        _entry_point(name)
    elif built_in.check_options is not None:
        built_in.check_options(options)


def create(name: str, context: VerifierContext, options: Mapping[str, Any]) -> Verifier:
    """The verifier of this name; raises ConfigError."""
    if built_in := _built_in(name):
        return built_in.create(context, options)
    try:
        factory: VerifierFactory = _entry_point(name).load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the verifier {name} cannot be loaded: {error}") from None
    return factory(context, options)


def context_judge(names: list[str], context: VerifierContext) -> ContextJudge | None:
    """A language model's view of the contexts, where one of our verifiers asks it for verdicts."""
    if not any(name in BUILT_IN and BUILT_IN[name].asks_judge for name in names):
        return None
    from rlvr_ray.verification.verifiers.ragas.contexts import AskedContexts

    return AskedContexts(context, logprobs="logprob" in names)


def _built_in(name: str) -> BuiltIn | None:
    """One of ours; raises ConfigError where somebody else gives the same name."""
    found = BUILT_IN.get(name)
    others = entry_points(group=GROUP, name=name) if found else ()
    for entry in others:
        if not entry.value.startswith("rlvr_ray."):  # an older installation lists ours there
            raise ConfigError(f"verification.verifiers: {name} is given twice: {entry.value}")
    return found


def _entry_point(name: str) -> EntryPoint:
    """Another's verifier."""
    found = [*entry_points(group=GROUP, name=name)]
    if not found:
        known = ", ".join(sorted({*BUILT_IN, *entry_points(group=GROUP).names}))
        raise ConfigError(f"verification.verifiers: there is no {name}; installed: {known}")
    if len({entry.value for entry in found}) > 1:
        places = ", ".join(entry.value for entry in found)
        raise ConfigError(f"verification.verifiers: {name} is given twice: {places}")
    entry: EntryPoint = found[0]
    return entry
