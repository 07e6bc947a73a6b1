"""How many questions per hour a number of GPUs can answer and judge, and the bottleneck.

The calculation counts each kind of prompt that the pipeline sends, and its tokens in the prefix
cache. It ignores latency: every part is assumed to be busy all the time, and prefill and decode to
follow one another.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from rlvr_ray.settings import DEFAULT_CANDIDATES

Verifier = Literal["grounded", "logprob", "ragas"]
Placement = Literal["generator", "share", "own"]

#: Tokens a second of one GPU, all its requests together: round figures, of no card that was ever
#: measured by this project.
ASSUMED_PREFILL, ASSUMED_DECODE = 20_000, 4_000
#: CPU seconds to verify an answer over five passages, beside the judge: measured on AVX2 cores with
#: a judge that answers at once. But for those of logprob, mostly embeddings.
VERIFY_CPU_S: dict[Verifier, float] = {"grounded": 0.19, "logprob": 0.002, "ragas": 0.03}
#: CPUs for ingress and verifiers beside each GPU, by default: an assumption.
CPUS_PER_GPU = 8
TINY, MOST = 1e-9, 1e12  #: what counts as above 0, and as endless
REVERSE = 3  #: reverse questions of an answer (RAGAS's strictness)
CONTROLS = 2  #: statements of known verdict, put to a judge beside those of a question's answers

# Tokens of the templates, counted with SmolLM2's tokenizer. At the beginning, the same for every
# question; marks and the like around what a question's prompts share; around the prompt's own.
_TEMPLATES = {
    "statements": (391, 32, 32),
    "verdicts in words": (732, 35, 35),
    "reverse questions": (490, 8, 32),
    "verdict tokens": (104, 32, 54),
    "relevancy tokens": (101, 32, 52),
}
_GENERATOR_FIXED = 47  # of its template, what stands before the passages
_PASSAGE = 6  # quotes and line ends around one of them
_JSON, _JSON_STATEMENT, _JSON_VERDICT, _JSON_QUESTION = 3, 2, 17, 12  # around what is written


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is asked. Tokens are means. Each field is an option of ``rlvr plan``, with its help."""

    questions: Annotated[int, "In all, such as 1e6."] = 1_000_000
    candidates: Annotated[int, "Answers to a question."] = DEFAULT_CANDIDATES
    top_k: Annotated[int, "Passages of a question."] = 5
    passage_tokens: Annotated[float, "Of one passage."] = 200
    question_tokens: Annotated[float, "Of one question."] = 20
    template_tokens: Annotated[float, "Of the generator's prompt, less question and passages."] = 75
    answer_tokens: Annotated[float, "Of one candidate."] = 60
    verifier: Annotated[Verifier, "What gives verdicts."] = "logprob"
    statements: Annotated[float, "Of one answer."] = 2
    reason_tokens: Annotated[float, "ragas: that the judge writes for one verdict."] = 35
    judge_tokens: Annotated[
        float | None, "ragas: that the judge writes a completion; derived if left out."
    ] = None
    prefix_cache: Annotated[bool, "Prompts that begin alike share their prefill."] = True

    def __post_init__(self) -> None:
        """Raise ValueError, one line, for what cannot be."""
        _check(self, 1, "questions", "candidates", "top_k", "statements", "answer_tokens")
        _check(self, 0, "passage_tokens", "question_tokens", "template_tokens", "reason_tokens")
        _check(self, 1, "judge_tokens")
        if self.verifier not in VERIFY_CPU_S:
            raise ValueError(f"verifier must be {', '.join(VERIFY_CPU_S)}; not {self.verifier}")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What there is; options too. Rates are tokens/s of one GPU, all its requests together."""

    gpus: Annotated[int, "In all."] = 8
    judge: Annotated[
        Placement, "The generator's model judges; or another, on a share of each GPU, or on own."
    ] = "generator"
    judge_share: Annotated[float | None, "Of each GPU; the best if left out."] = None
    judge_gpus: Annotated[int | None, "Of --gpus; the best if left out."] = None
    prefill_rate: Annotated[
        float | None, f"Tokens/s of a GPU; {ASSUMED_PREFILL:,} if left out, an assumption."
    ] = None
    decode_rate: Annotated[
        float | None, f"Tokens/s of a GPU; {ASSUMED_DECODE:,} if left out, an assumption."
    ] = None
    judge_prefill_rate: Annotated[float | None, "As the generator's if left out."] = None
    judge_decode_rate: Annotated[float | None, "As the generator's if left out."] = None
    aggregator_rate: Annotated[float, "Batches/s that become durable, decided and files."] = 500
    ingress_cpu_s: Annotated[float, "CPU s a question, Ray Serve's hops included; roughly."] = 0.06
    verifier_cpu_s: Annotated[
        float | None, "CPU s a question, beside the judge; what was measured if left out."
    ] = None
    cpus: Annotated[
        float | None, f"For ingress and verifiers; {CPUS_PER_GPU} a GPU if left out, an assumption."
    ] = None

    def __post_init__(self) -> None:
        """Raise ValueError, one line, for what cannot be."""
        _check(self, 1, "gpus", "judge_gpus")
        _check(self, TINY, "prefill_rate", "decode_rate", "judge_prefill_rate", "judge_decode_rate")
        _check(self, TINY, "judge_share", "aggregator_rate", "cpus")
        _check(self, 0, "ingress_cpu_s", "verifier_cpu_s")
        if self.judge not in ("generator", "share", "own"):
            raise ValueError(f"judge must be generator, share or own; not {self.judge}")
        if self.judge_share is not None and (self.judge != "share" or self.judge_share >= 1):
            raise ValueError("judge share must be below 1, and goes with judge = share")
        if self.judge_gpus is not None and self.judge != "own":
            raise ValueError("judge gpus goes with judge = own")
        if self.judge == "generator" and (self.judge_prefill_rate or self.judge_decode_rate):
            raise ValueError("rates of the judge go with judge = share or own")
        if self.judge == "own" and self.gpus <= (self.judge_gpus or 1):
            raise ValueError(
                f"gpus must be more than the judge's {self.judge_gpus or 1}; not {self.gpus}"
            )

    @property
    def assumed(self) -> tuple[str, ...]:
        """Names of what was left out and that nobody measured."""
        names = ("prefill_rate", "decode_rate", "cpus")
        return tuple(name for name in names if getattr(self, name) is None)

    @property
    def rates(self) -> tuple[float, float, float, float]:
        """Prefill and decode of the generator, then of the judge."""
        prefill, decode = self.prefill_rate or ASSUMED_PREFILL, self.decode_rate or ASSUMED_DECODE
        return (
            prefill,
            decode,
            self.judge_prefill_rate or prefill,
            self.judge_decode_rate or decode,
        )

    def cpus_beside(self, gpus: int) -> float:
        """CPUs for ingress and verifiers beside so many GPUs."""
        return self.cpus or CPUS_PER_GPU * gpus


@dataclass(frozen=True)
class Asked:
    """One kind of prompt, as one question has it asked. Tokens are those of one prompt."""

    name: str
    calls: float  #: prompts a question
    samples: int  #: completions of each prompt
    fixed: float  #: at its beginning, the same for every question
    shared: float  #: that follow, the same for all prompts of the question
    own: float  #: the rest
    written: float  #: of each completion
    prefix_cache: bool

    @property
    def prefill(self) -> float:
        """Tokens a question that are evaluated."""
        if self.prefix_cache:
            return self.shared + self.calls * self.own
        return self.calls * self.samples * (self.fixed + self.shared + self.own)

    @property
    def cached(self) -> float:
        """Tokens a question that completions' prompts have, and that the prefix cache gives."""
        return self.calls * self.samples * (self.fixed + self.shared + self.own) - self.prefill

    @property
    def decode(self) -> float:
        """Tokens a question that are written."""
        return self.calls * self.samples * self.written


@dataclass(frozen=True)
class Point:
    """A number of GPUs and what comes of it."""

    gpus: int
    judge_gpus: float  #: those that judge; of a model that does both, the share of its time
    limits: dict[str, float]  #: questions a second that each part can take

    @property
    def bottleneck(self) -> str:
        """The part that can take least."""
        return min(self.limits, key=lambda part: self.limits[part])

    @property
    def rate(self) -> float:
        """Questions a second."""
        return self.limits[self.bottleneck]


def generating(load: Workload) -> Asked:
    """The candidates of a question: samples of one prompt."""
    fixed = min(_GENERATOR_FIXED, load.template_tokens)
    passages = load.top_k * (load.passage_tokens + _PASSAGE)
    shared = load.template_tokens - fixed + passages + load.question_tokens
    samples, cache = load.candidates, load.prefix_cache
    return Asked("answers", 1, samples, fixed, shared, 0, load.answer_tokens, cache)


def judging(load: Workload) -> tuple[Asked, ...]:
    """What the judge is asked of a question's candidates, none of which abstains.

    Nothing with the verifier ``grounded``.
    """

    def asked(
        name: str, calls: float, shared: float, own: float, written: float, samples: int = 1
    ) -> Asked:
        fixed, around, beside = _TEMPLATES[name]
        cache = load.prefix_cache
        return Asked(name, calls, samples, fixed, shared + around, own + beside, written, cache)

    if load.verifier == "grounded":
        return ()
    question, answer = load.question_tokens, load.answer_tokens
    answers, statement = load.candidates, answer / load.statements
    verdicts = answers * load.statements + CONTROLS
    contexts = load.top_k * (load.passage_tokens + 1)  # a line end between two
    if load.verifier == "logprob":
        return (
            asked("verdict tokens", verdicts, contexts, statement, 1),
            asked("relevancy tokens", answers, question, answer, 1),
        )
    given = load.judge_tokens
    listed = answer + _JSON + load.statements * _JSON_STATEMENT
    verdict = statement + _JSON + load.reason_tokens + _JSON_VERDICT
    asking = question + _JSON_QUESTION
    return (
        asked("statements", answers, question, answer, given or listed),
        asked("verdicts in words", verdicts, contexts, statement, given or verdict),
        asked("reverse questions", answers, 0, answer, given or asking, REVERSE),
    )


def gpu_seconds(load: Workload, cluster: Cluster) -> tuple[float, float]:
    """Seconds of one GPU that a question takes: to generate, and to judge."""
    prefill, decode, judge_prefill, judge_decode = cluster.rates
    asked = generating(load)
    generate = asked.prefill / prefill + asked.decode / decode
    return generate, math.fsum(
        asked.prefill / judge_prefill + asked.decode / judge_decode for asked in judging(load)
    )


def cpu_seconds(load: Workload, cluster: Cluster) -> tuple[float, float]:
    """CPU seconds that a question takes: in the ingress, and in a verifier beside the judge."""
    verify = cluster.verifier_cpu_s
    if verify is None:
        verify = VERIFY_CPU_S[load.verifier] * load.candidates
    return cluster.ingress_cpu_s, verify


def point(load: Workload, cluster: Cluster, gpus: int, judge_gpus: float | None = None) -> Point:
    """What so many GPUs do; ``judge_gpus`` of them judge, or the best number.

    Where no model judges, all of them generate.
    """
    generate, judge = gpu_seconds(load, cluster)
    if not judge:
        judge_gpus = 0
    elif judge_gpus is None:
        judge_gpus = gpus * judge / (generate + judge)
        if cluster.judge == "own":  # whole ones: the best is next to it
            down = min(max(math.floor(judge_gpus), 1), gpus - 1)
            either = (down, min(down + 1, gpus - 1))
            judge_gpus = max(either, key=lambda k: min((gpus - k) / generate, k / judge))
    if cluster.judge == "generator" or not judge:
        limits = {"GPUs": gpus / (generate + judge)}
    else:
        generators = (gpus - judge_gpus) / generate
        limits = {"generator GPUs": generators, "judge GPUs": judge_gpus / judge}
    ingress, verify = cpu_seconds(load, cluster)
    if ingress + verify:
        name = "verifier CPUs" if verify >= ingress else "ingress CPUs"
        limits[name] = cluster.cpus_beside(gpus) / (ingress + verify)
    return Point(gpus, judge_gpus, limits | {"aggregator": cluster.aggregator_rate})


def chosen(load: Workload, cluster: Cluster) -> Point:
    """The cluster as it was asked about."""
    share = cluster.judge_share
    judge_gpus = cluster.judge_gpus if share is None else share * cluster.gpus
    return point(load, cluster, cluster.gpus, judge_gpus)


def growth(load: Workload, cluster: Cluster) -> list[Point]:
    """Powers of two of GPUs, past those of the cluster, each at its best split."""
    least = 2 if cluster.judge == "own" else 1
    powers = {2**n for n in range(cluster.gpus.bit_length() + 2) if 2**n >= least}
    return [point(load, cluster, gpus) for gpus in sorted(powers | {cluster.gpus})]


def _check(values: object, least: float, *names: str) -> None:
    for name in names:
        value = getattr(values, name)
        if value is not None and not (least <= value <= MOST):  # false of NaN too
            bound = "above 0" if least == TINY else f"{least:g} or more"
            name = name.replace("_", " ")
            raise ValueError(f"{name} must be {bound}, and {MOST:g} at most; not {value:g}")
