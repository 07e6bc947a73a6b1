"""The counts of an export, and their summary on the terminal."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rlvr_ray.core.answer_text import control_tokens
from rlvr_ray.dataset.reviews import Verdict
from rlvr_ray.training.export.card import REASONS
from rlvr_ray.training.export.examples import Answer, Judged, Messages, NoPair, Pair

#: Unreadable rows that are named; the rest is counted.
NAMED = 20
#: Rows of a reason that are described.
EXAMPLES = 2
#: Control tokens that are named of each place.
SHOWN = 5


class Facts(NamedTuple):
    """What the card says of a row; None where there is no such thing."""

    score: float
    chars: int
    margin: float | None
    rejected_chars: int | None
    tokens: int
    cut_off: tuple[bool, ...]  #: of its answers, the chosen one first
    question: int  #: spellings of one have the same number
    documents: tuple[int, ...]


@dataclass
class ExportStatistics:
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
    questions: dict[str, int] = field(default_factory=dict)  #: numbers of what was exported
    documents: dict[str, int] = field(default_factory=dict)
    control_rows: Counter[str] = field(default_factory=Counter)  #: that have some, by place
    control_tokens: dict[str, Counter[str]] = field(default_factory=dict)

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

    def took(
        self, value: Pair | Answer | NoPair, prompt: Messages, question: str, tokens: int
    ) -> None:
        """Count a row that is exported.

        ``question`` names its question; ``tokens`` is 0 where none were counted.
        """
        self.models.update(value.models)
        self.judges.update(value.judges)
        self.prompt_versions[value.prompt_version] += 1
        self._look_for_control_tokens(value, prompt)
        score, margin, other = value.score, None, None
        if isinstance(value, Pair):
            self.rules[value.rule] += 1
            self.defects[value.defect or ""] += 1
            self.turned += value.margin is None
            margin, other = value.margin, len(value.rejected)
        assert score is not None, "answers without a score are left out"
        self.facts.append(
            Facts(
                score=score,
                chars=len(value.answers[0]),
                margin=margin,
                rejected_chars=other,
                tokens=tokens,
                cut_off=value.cut_off,
                question=_number(question, self.questions),
                documents=tuple(_number(name, self.documents) for name in value.documents),
            )
        )

    def _look_for_control_tokens(self, value: Pair | Answer | NoPair, prompt: Messages) -> None:
        texts = {"prompt": [message["content"] for message in prompt]}
        if isinstance(value, Pair):
            texts |= {"chosen": [value.chosen], "rejected": [value.rejected]}
        else:
            texts["answers" if isinstance(value, NoPair) else "answer"] = [*value.answers]
        for place, parts in texts.items():
            if found := {token for text in parts for token in control_tokens(text)}:
                self.control_rows[place] += 1
                self.control_tokens.setdefault(place, Counter()).update(found)

    def found_control_tokens(self) -> list[dict[str, Any]]:
        """By place: how many rows have some, and the most frequent ones."""
        return [
            {
                "place": place,
                "rows": self.control_rows[place],
                "tokens": [token for token, _ in ranked(tokens)[:SHOWN]],
            }
            for place, tokens in sorted(self.control_tokens.items())
        ]


def _number(name: str, numbers: dict[str, int]) -> int:
    return numbers.setdefault(name, len(numbers))


def figures(facts: list[Facts]) -> dict[str, Any]:
    """Of a split; figures that it has none of are left out."""
    found: dict[str, Any] = {
        "rows": len(facts),
        "questions": len({f.question for f in facts}),
        "documents": len({number for f in facts for number in f.documents}),
        "cut_off": sum(f.cut_off[0] for f in facts) / len(facts),
    }
    pairs = [(f.margin, f.chars, f.rejected_chars) for f in facts if f.rejected_chars is not None]
    if pairs:
        found["chosen_longer"] = sum(chars > other for _, chars, other in pairs) / len(pairs)
        if margins := [margin for margin, _, _ in pairs if margin is not None]:
            found["margin"] = _quartiles(margins)
        found["rejected_cut_off"] = sum(f.cut_off[-1] for f in facts) / len(facts)
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


def nothing(folder: Path, stats: ExportStatistics) -> str:
    """Why no row of a dataset's folder is exported."""
    if not stats.read:
        return f"{folder} has no rows: ask questions first, or name another --data-dir"
    reasons = ", ".join(f"{name} {n:,}" for name, n in sorted(stats.left_out.items()))
    reasons = reasons or "every question made a pair"
    first = f"; first: {stats.unreadable[0]}" if stats.unreadable else ""
    return f"none of the {stats.read:,} rows in {folder} can be exported: {reasons}{first}"


def text(report: dict[str, Any], out: Path) -> Iterator[tuple[str, bool]]:
    """What a person should know, line by line, each with whether it is a warning."""
    for split, file in report["files"].items():
        yield f"{out / file}  {report['splits'][split]['rows']:,} rows", False
    for name, number in report["left_out"].items():
        yield f"left out, {name}: {number:,} ({REASONS[name]})", True
        yield from ((f"  such as {example}", True) for example in report["examples"].get(name, ()))
    if human := report["human"]:
        counts = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in human.items())
        yield f"people's reviews: {counts}", False
    for file in report["decontaminate"]:
        line = f"{file['source']}: {file['questions']:,} held-out questions, {file['rows']:,} rows"
        yield f"{line} left out", False
    yield from ((f"  {place}", True) for place in report["unreadable"])
    more = report["left_out"].get("unreadable", 0) - len(report["unreadable"])
    if more:
        yield f"  and {more:,} more", True
    cut = sum(round(s["cut_off"] * s["rows"]) for s in report["splits"].values())
    if cut:
        of = "chosen answers" if report["pairs"] else "answers"
        yield f"{of} that were cut off at the generator's token limit: {cut:,}", True
    for found in report["control_tokens"]:
        yield (
            f"control tokens in {found['place']}: {found['rows']:,} (such as "
            f"{', '.join(found['tokens'])}; a trainer's tokenizer may read them as its own)",
            True,
        )
    split = report["split"]
    yield f"eval: {split['reached']:.1%} of the rows, {split['wanted']:.1%} wanted", False
    if split["wanted"] and not split["reached"]:
        shared, advice = "a question", "ask more questions"
        if split["by"] == "document":
            shared = "documents, passages or questions"
            advice = "use --split-by question, which keeps questions apart and not documents"
        yield (
            f"eval is empty: no group of rows is small enough. The largest of {split['groups']:,} "
            f"has {split['largest']:,} rows that share {shared}; {advice}",
            True,
        )
    if report["max_tokens"] is None:
        yield "no --max-tokens: trainers cut or drop what is too long (docs/export.md)", True
