"""Batches on a terminal: decided ones, and those that are being followed.

Text from models and documents is never interpreted as markup.
"""

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rlvr_ray.client import (
    Batch,
    Board,
    Candidate,
    ContextsFound,
    LiveEvent,
    Outcome,
    Restarted,
    StateChanged,
    Submitted,
    Verification,
)

#: Narrowest column in which an answer reads well; below it answers stand one below the other.
MIN_WIDTH = 36


def batch(state: Batch) -> RenderableType:
    """Candidates with their scores, those of each verifier where that says more, the outcome."""
    verifiers = _verifiers(state.candidates)
    table = Table("temp", "score", "faithful", "relevant", title=Text(state.question))
    for name, weight in verifiers.items():
        table.add_column(Text(name if weight else f"{name} (check)"))
    table.add_column("answer")
    for candidate in state.candidates:
        verification = candidate.verification
        scores: list[float | None] = [None] * (3 + len(verifiers))
        answer = Text(candidate.answer)
        if verification is not None:
            scores_by = {a.verifier: a.score for a in verification.assessments}
            scores = [verification.score, verification.faithfulness, verification.relevancy]
            scores += [scores_by.get(name) for name in verifiers]
            if verification.defect is not None:
                answer.append(f"\ndefect: {verification.defect}", "red")
            if verification.reason is not None:
                answer.append(f"\nno score: {verification.reason}", "yellow")
        table.add_row(f"{candidate.temperature:g}", *map(_number, scores), answer)
    return Group(table, outcome(state.outcome), Text(f"batch {state.batch_id}"))


def _verifiers(candidates: Sequence[Candidate]) -> dict[str, float]:
    """Names and weights of those that get a column: none where one says all that there is.

    What the panel adds by itself, to check a language model, is left to the JSON.
    """
    judged = [c.verification for c in candidates if c.verification is not None]
    assessed = [[a for a in v.assessments if a.verifier != "check"] for v in judged]
    assessments = [a for one in assessed for a in one]
    several = any(len(one) > 1 for one in assessed)
    if several or any(a.faithfulness is None for a in assessments):
        return {a.verifier: a.weight for a in assessments}
    return {}


def outcome(value: Outcome | None) -> Text:
    """Pair or reason, with the figures."""
    if value is None:
        return Text("not decided yet", style="dim")
    if value.pair:
        return Text(f"pair: {value.detail}", style="green")
    return Text(f"no pair, {value.reason}: {value.detail}", style="yellow")


def batches(states: Sequence[Batch]) -> RenderableType:
    """One row for each question: scores by temperature, and the outcome."""
    columns = max(len(state.candidates) for state in states)
    table = Table("question", *[f"answer {i + 1}" for i in range(columns)], "outcome")
    for state in states:
        cells = [f"{_number(c.score)} @ {c.temperature:g}" for c in state.candidates]
        cells += [""] * (columns - len(cells))
        decided = state.outcome
        end = Text("open", "dim")
        if decided is not None:
            end = Text("pair", "green") if decided.pair else Text(str(decided.reason), "yellow")
        table.add_row(Text(state.question), *cells, end)
    return Group(table, Text("A cell is an answer's score @ its temperature."))


# An ask that is followed.


class Following:
    """A board on a terminal: answers side by side where there is room, scores, the outcome."""

    def __init__(self, board: Board, question: str, num_candidates: int) -> None:
        self._board = board
        self._question = question
        self._num_candidates = num_candidates

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The board as it is now."""
        board = self._board
        yield Text(self._question, "bold")
        if board.contexts:
            yield Text(f"from {_sources(board)}", "dim")
        count = max(self._num_candidates, len(board.answers))
        boxes = [self._box(index) for index in range(count)]
        if options.max_width // count >= MIN_WIDTH:
            grid = Table.grid(expand=True)
            for _ in boxes:
                grid.add_column(ratio=1)
            grid.add_row(*boxes)
            yield grid
        else:
            yield from boxes
        if board.batch is None:
            yield Text("writing …" if board.answers else "reading …", "dim")
        elif board.batch.outcome is None:
            yield Text("verifying …", "dim")
        else:
            yield outcome(board.batch.outcome)
            yield Text(f"batch {board.batch.batch_id}")

    def _box(self, index: int) -> Panel:
        batch = self._board.batch
        text = Text(self._board.answers.get(index, ""))
        title, score, style = f"answer {index + 1}", Text(), "none"
        if batch is not None and index < len(batch.candidates):
            candidate = batch.candidates[index]
            title += f" @ {candidate.temperature:g}"
            score = _score(candidate.verification)
            if candidate is batch.chosen:
                title, style = f"{title}: chosen", "green"
            elif candidate is batch.rejected:
                title, style = f"{title}: rejected", "red"
        return Panel(
            text, title=Text(title), subtitle=score, border_style=style, title_align="left"
        )


class Lines:
    """A followed ask as lines of text: each thing once, as soon as it is known."""

    def __init__(self) -> None:
        self._board = Board()
        self._scored: set[int] = set()

    def add(self, event: LiveEvent) -> Iterator[Text]:
        """What an event adds."""
        was = self._board.batch
        self._board.add(event)
        match event:
            case Submitted():
                yield Text(f"batch {event.batch_id}")
            case ContextsFound():
                yield Text(f"passages from {_sources(self._board)}")
            case Restarted():
                yield Text("the answers begin anew", "yellow")
            case StateChanged():
                yield from self._state(event.batch, new=was is None)

    def _state(self, batch: Batch, *, new: bool) -> Iterator[Text]:
        for candidate in batch.candidates if new else ():
            name = f"answer {candidate.candidate_index + 1} @ {candidate.temperature:g}"
            yield Text(f"{name}: {candidate.answer}")
        for candidate in batch.candidates:
            index = candidate.candidate_index
            if candidate.verification is not None and index not in self._scored:
                self._scored.add(index)
                yield Text(f"answer {index + 1}: ") + _score(candidate.verification)
        if batch.outcome is not None:
            yield outcome(batch.outcome)


def _sources(board: Board) -> str:
    """Each document once, best passage first."""
    return ", ".join(dict.fromkeys(context.source for context in board.contexts))


def _score(verification: Verification | None) -> Text:
    """A score and what it is made of, or why there is none."""
    if verification is None:
        return Text("verifying …", "dim")
    if verification.reason is not None:
        return Text(f"no score: {verification.reason}", "yellow")
    text = f"score {_number(verification.score)}"
    if verification.faithfulness is not None:
        text += f", faithful {_number(verification.faithfulness)}"
    if verification.relevancy is not None:
        text += f", relevant {_number(verification.relevancy)}"
    if verification.defect is None:
        return Text(text)
    return Text(f"{text}, ").append(f"defect: {verification.defect}", "red")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
