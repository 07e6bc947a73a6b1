"""Statistics of a run, of a size that does not grow with it, and what its tokens cost."""

from collections import Counter
from dataclasses import dataclass, field

from rlvr_ray.core.errors import InputError
from rlvr_ray.core.records import NO_TOKENS, Usage
from rlvr_ray.dataset.state import OutcomeSummary
from rlvr_ray.generation import selection
from rlvr_ray.settings import EngineSettings, Settings

#: Examples that are kept of each kind of failure.
EXAMPLES = 3
#: Most stretches of time that a course has.
STRETCHES = 240
#: Bars of a histogram of margins, which go from 0 to 1.
BARS = 20


class Course:
    """Decided questions and pairs over time, in stretches of equal length.

    A stretch is a second at first; whenever there are too many, two become one.
    """

    def __init__(self) -> None:
        self.stretch_s = 1
        self.decided: list[int] = []
        self.pairs: list[int] = []

    def add(self, at: float, pairs: int) -> None:
        """A question that was decided ``at`` seconds after the start."""
        while at >= self.stretch_s * STRETCHES:
            self.stretch_s *= 2
            self.decided = halved(self.decided)
            self.pairs = halved(self.pairs)
        place = int(at / self.stretch_s)
        missing = [0] * (place + 1 - len(self.decided))
        self.decided += missing
        self.pairs += missing
        self.decided[place] += 1
        self.pairs[place] += pairs


def halved(counts: list[int]) -> list[int]:
    """Two neighbours each as one."""
    return [sum(counts[at : at + 2]) for at in range(0, len(counts), 2)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Of a million tokens each, in a currency that only its user knows."""

    prompt: float
    cached: float  #: tokens of a prompt that the prefix cache had
    completion: float

    def cost(self, usage: Usage) -> float:
        """Of so many tokens, in the same currency."""
        computed = usage.prompt_tokens - usage.cached_tokens
        return (
            self.prompt * computed
            + self.cached * usage.cached_tokens
            + self.completion * usage.completion_tokens
        ) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What the generator's and the judge's tokens cost."""

    generator: Prices
    judge: Prices

    def cost(self, answers: Usage, judging: Usage) -> float:
        """Of a run's tokens."""
        return self.generator.cost(answers) + self.judge.cost(judging)


def rates(settings: Settings) -> Rates:
    """Prices of tokens; raises InputError that names the settings that are missing."""
    missing: list[str] = []
    generator = _prices(settings.generator, missing)
    judge = _prices(selection.judging(settings), missing)
    if missing:
        raise InputError(
            f"no prices, no cost: set {' and '.join(dict.fromkeys(missing))} (of a million tokens; "
            "--set NAME=NUMBER)"
        )
    return Rates(generator=generator, judge=judge)


def _prices(engine: EngineSettings, missing: list[str]) -> Prices:
    for name in ("price_prompt", "price_completion"):
        if getattr(engine, name) is None:
            missing.append(f"{engine.section}.{name}")
    prompt, cached = engine.price_prompt or 0.0, engine.price_cached
    return Prices(
        prompt=prompt,
        cached=prompt if cached is None else cached,
        completion=engine.price_completion or 0.0,
    )


@dataclass(slots=True, kw_only=True)
class RunStatistics:
    """What a run counts; ``answers`` and ``judging`` are tokens, of earlier programs included."""

    read: int = 0  #: questions, and what was refused among them
    known: int = 0  #: of them, those that were recorded before this program began
    earlier: int = 0  #: all of the run that was recorded before, read or not
    asked: int = 0
    undecided: int = 0
    pairs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)  #: ``pair``, or why there is none
    failures: Counter[str] = field(default_factory=Counter)  #: not asked, or not answered
    examples: dict[str, list[str]] = field(default_factory=dict)
    repeats: int = 0  #: waits for something that was down or had too much to do
    waiting: int = 0  #: of them, those that last
    reason: str = ""  #: of the last one
    stalled: str = ""  #: why no outcome comes, while that is so
    answers: Usage = NO_TOKENS
    answers_of: int = 0  #: questions whose answers' tokens are in it
    judging: Usage = NO_TOKENS
    judging_of: int = 0  #: likewise
    before: int = 0  #: questions that were asked before this program began, and are decided
    course: Course = field(default_factory=Course)  #: of this run of the program
    pair_margins: list[int] = field(default_factory=lambda: [0] * BARS)
    other_margins: list[int] = field(default_factory=lambda: [0] * BARS)  #: of best and worst
    seconds: float = 0.0
    #: ``running``, ``finished``, ``stopped``, ``max_pairs``, ``max_cost`` or ``failed``
    state: str = "running"

    @property
    def decided(self) -> int:
        """Questions with an outcome."""
        return self.outcomes.total()

    def failed(self, kind: str, message: str) -> None:
        """Count a question that makes no batch."""
        self.failures[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(message)

    def answered(self, usage: Usage) -> None:
        """Count the tokens of a question's answers; there are none where they are not known."""
        self.answers += usage
        self.answers_of += usage != NO_TOKENS

    def ended(self, ending: OutcomeSummary, at: float | None) -> None:
        """Count a question that was decided ``at`` seconds after the start; None: one that was
        asked before this program began.

        The tokens of its answers are not counted here.
        """
        self.outcomes[ending.reason or "pair"] += 1
        self.pairs += ending.pairs
        self.judging += ending.judging
        self.judging_of += ending.answers != NO_TOKENS  # else it is past retention
        bars = self.pair_margins if ending.reason is None else self.other_margins
        for margin in ending.margins:
            bars[min(int(margin * BARS), BARS - 1)] += 1
        if at is None:
            self.before += 1
        else:
            self.course.add(at, ending.pairs)

    def cost(self, rates: Rates) -> float:
        """Of the whole run so far."""
        return rates.cost(self.answers, self.judging)

    def coming(self, rates: Rates, *, answers: int, judgements: int) -> float:
        """What so many questions will cost, going by what questions of this run took so far."""
        each = rates.generator.cost(self.answers) / max(1, self.answers_of)
        judged = rates.judge.cost(self.judging) / max(1, self.judging_of)
        return answers * each + judgements * judged
