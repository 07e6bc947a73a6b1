"""What the command line shows of a server. Text from models and documents is never markup."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rlvr_ray.client import (
    Batch,
    BatchLine,
    Board,
    Candidate,
    ContextsFound,
    IngestedDocument,
    LiveEvent,
    Outcome,
    Recent,
    Restarted,
    StateChanged,
    Stats,
    StoredDocument,
    Submitted,
    Verification,
)

#: Narrowest column in which an answer reads well; below it answers stand one below the other.
MIN_WIDTH = 36
#: Latest pairs, and latest batches without one, in ``status``.
LATEST = 5


def ingested(stored: Iterable[IngestedDocument]) -> RenderableType:
    """One line for each document."""
    table = Table("document", "passages", "", box=None)
    for document in stored:
        state = "stored" if document.changed else "unchanged"
        table.add_row(Text(document.source), str(document.num_chunks), state)
    return table


def stored(documents: Sequence[StoredDocument]) -> RenderableType:
    """Name, passages and id of each document."""
    if not documents:
        return Text("no documents; rlvr ingest PATH… adds some")
    table = Table("document", "passages", "id", box=None)
    for document in documents:
        table.add_row(Text(document.source), f"{document.num_chunks:,}", document.document_id)
    return table


# Batches.


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
            said = {a.verifier: a.score for a in verification.assessments}
            scores = [verification.score, verification.faithfulness, verification.relevancy]
            scores += [said.get(name) for name in verifiers]
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
    said = [[a for a in v.assessments if a.verifier != "check"] for v in judged]
    assessments = [a for one in said for a in one]
    several = any(len(one) > 1 for one in said)
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
    """A followed ask as lines of text: each thing is said once, as soon as it is known."""

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


# The system.


def stats(value: Stats, latest: Sequence[Recent | BatchLine]) -> RenderableType:
    """Counts, rates, latest pairs and rejections, files, and what is wrong."""
    counts = Table("state", "batches", box=None)
    for state, count in value.batches.items():
        counts.add_row(Text(state), f"{count:,}")
    parts: list[RenderableType] = [Text(f"{value.passages:,} passages to search")]
    if value.rates:
        rates = Table("in the last", "decided", "pairs", box=None)
        for name, rate in value.rates.items():
            rates.add_row(Text(name), f"{rate.decided:,}", f"{rate.pairs:,}")
        parts.append(Columns([counts, rates], padding=(0, 4)))
    else:
        parts.append(counts)
    parts += [
        _latest("pair", (each for each in latest if each.outcome == "pair")),
        _latest("no pair", (each for each in latest if each.outcome != "pair")),
        _files(value),
    ]
    if value.queue is not None and value.queue.open:
        parts.append(Text(f"queue: {value.queue.open:,} batches wait{_since(value.queue.oldest)}"))
    if value.mirror is not None:
        parts.append(
            Text(f"mirror: {value.mirror.pending:,} events wait{_since(value.mirror.oldest)}")
        )
    if (disk := value.disk) is not None:
        full = disk.free_bytes < disk.min_free_bytes
        text = f"disk: {disk.free_bytes / 2**30:,.1f} GiB free"
        parts.append(Text(f"{text}, too little to ask" if full else text, "red" if full else ""))
    if (aside := value.set_aside) is not None and aside.count:
        parts.append(Text(f"set aside, since they cannot be read: {aside.count:,}", "red"))
        parts += [Text(f"  {one.record}: {one.reason}", "red") for one in aside.records]
    parts += [
        Text(f"{_time(error.at)} {error.part}: {error.detail}", "red")
        for error in value.errors[:LATEST]
    ]
    if value.last_error:
        parts.append(Text(f"last error: {value.last_error}", style="red"))
    if value.dashboard:
        parts.append(Text(f"Ray's dashboard: {value.dashboard}"))
    return Group(*parts)


def _latest(name: str, entries: Iterable[Recent | BatchLine]) -> RenderableType:
    table = Table(name, "question", "why", box=None)
    for entry in islice(entries, LATEST):
        why = entry.detail or ""
        if entry.outcome != "pair":
            why = f"{entry.outcome}: {why}"
        at = _time(entry.decided_at) if entry.decided_at else ""
        table.add_row(at, Text(entry.question[:60]), Text(why))
    return table


def _files(value: Stats) -> RenderableType:
    """Paths and sizes; of the parts the latest."""
    lines = [f"{Path(value.data_dir, path)}  {size:,} bytes" for path, size in value.files.items()]
    lines += [str(Path(value.data_dir, path)) for path in value.parts]
    if value.num_parts > len(value.parts):
        lines.append(f"and {value.num_parts - len(value.parts):,} earlier parts")
    return Text("\n".join(lines))


def _since(oldest: datetime | None) -> str:
    return f", the oldest since {_time(oldest)}" if oldest else ""


def _time(value: datetime) -> str:
    """In UTC, to the second."""
    return value.isoformat()[:19]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
