"""What is counted while rows are exported, and what a person is told of it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rlvr_ray.core.export import Answer, Judged, NoPair, Pair
from rlvr_ray.core.reviewing import Verdict
from rlvr_ray.export.card import REASONS

#: Unreadable rows that are named; the rest is counted.
NAMED = 20
#: Rows of a reason that are described.
EXAMPLES = 2


class Facts(NamedTuple):
    """What the card says of a row; None where there is no such thing."""

    score: float
    chars: int
    margin: float | None
    rejected_chars: int | None
    tokens: int


@dataclass
class Tally:
    """What is counted on the way."""

    read: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    examples: dict[str, list[str]] = field(default_factory=dict)  #: by reason
    #: Pairs that were read, by what people say of them.
    human: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys([*map(str, Verdict), "unreviewed"], 0)
    )
    turned: int = 0  #: pairs that were exported the other way round
    facts: list[Facts] = field(default_factory=list)
    models: Counter[str] = field(default_factory=Counter)
    judges: Counter[Judged] = field(default_factory=Counter)
    rules: Counter[tuple[tuple[str, str], ...]] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)  #: of rejected answers; "" unknown
    prompt_versions: Counter[str] = field(default_factory=Counter)

    def bad(self, place: str, why: str) -> None:
        """Count a row that cannot be read."""
        self.left_out["unreadable"] += 1
        if len(self.unreadable) < NAMED:
            self.unreadable.append(f"{place}: {why}")

    def leave(self, reason: str, example: str) -> None:
        """Count a row that is left out, for which a person may want to see examples."""
        self.left_out[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(example)

    def took(self, value: Pair | Answer | NoPair, tokens: int) -> None:
        """Count a row that is exported; ``tokens`` is 0 where none were counted."""
        self.models.update(value.models)
        self.judges.update(value.judges)
        self.prompt_versions[value.prompt_version] += 1
        if isinstance(value, Pair):
            self.rules[value.rule] += 1
            self.defects[value.defect or ""] += 1
            self.turned += value.margin is None
            score, margin, other = value.chosen_score, value.margin, len(value.rejected)
            self.facts.append(Facts(score, len(value.chosen), margin, other, tokens))
        else:
            assert value.score is not None, "answers without a score are left out"
            self.facts.append(Facts(value.score, len(value.answer), None, None, tokens))


def figures(facts: list[Facts]) -> dict[str, Any]:
    """Of a split; figures that it has none of are left out."""
    found: dict[str, Any] = {"rows": len(facts)}
    pairs = [(f.margin, f.chars, f.rejected_chars) for f in facts if f.rejected_chars is not None]
    if pairs:
        found["chosen_longer"] = sum(chars > other for _, chars, other in pairs) / len(pairs)
        if margins := [margin for margin, _, _ in pairs if margin is not None]:
            found["margin"] = _quartiles(margins)
        found["rejected_chars"] = _quartiles([other for _, _, other in pairs])
    found["score"] = _quartiles([f.score for f in facts])
    found["chars"] = _quartiles([f.chars for f in facts])
    if longest := max(f.tokens for f in facts):
        found["tokens"] = longest
    return found


def _quartiles(values: list[Any]) -> list[Any]:
    """Least, quartiles and largest, each a value that occurs."""
    ordered = sorted(values)
    return [ordered[round((len(ordered) - 1) * part / 4)] for part in range(5)]


def ranked(counts: Counter[Any]) -> list[tuple[Any, int]]:
    """The most frequent first; equals in their own order, so that the card is always the same."""
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def nothing(folder: Path, tally: Tally) -> str:
    """Why no row of a dataset's folder is exported."""
    if not tally.read:
        return f"{folder} has no rows: ask questions first, or name another --data-dir"
    reasons = ", ".join(f"{name} {n:,}" for name, n in sorted(tally.left_out.items()))
    first = f"; first: {tally.unreadable[0]}" if tally.unreadable else ""
    return f"none of the {tally.read:,} rows in {folder} can be exported: {reasons}{first}"


def text(report: dict[str, Any], out: Path) -> Iterator[tuple[str, bool]]:
    """What a person should know, line by line, each with whether it is a warning."""
    for split, file in report["files"].items():
        yield f"{out / file}  {report['splits'][split]['rows']:,} rows", False
    for name, number in report["left_out"].items():
        yield f"left out, {name}: {number:,} ({REASONS[name]})", True
        yield from ((f"  such as {told}", True) for told in report["examples"].get(name, ()))
    if human := report["human"]:
        counts = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in human.items())
        yield f"people's reviews: {counts}", False
    for file in report["decontaminate"]:
        told = f"{file['source']}: {file['questions']:,} held-out questions, {file['rows']:,} rows"
        yield f"{told} left out", False
    yield from ((f"  {place}", True) for place in report["unreadable"])
    more = report["left_out"].get("unreadable", 0) - len(report["unreadable"])
    if more:
        yield f"  and {more:,} more", True
    split = report["split"]
    yield f"eval: {split['reached']:.1%} of the rows, {split['wanted']:.1%} wanted", False
    if split["wanted"] and not split["reached"]:
        yield (
            f"eval is empty: no group of rows is small enough. The largest of {split['groups']:,} "
            f"has {split['largest']:,} rows that share documents or questions",
            True,
        )
    if report["max_tokens"] is None:
        yield "no --max-tokens: trainers cut or drop what is too long (docs/export.md)", True
