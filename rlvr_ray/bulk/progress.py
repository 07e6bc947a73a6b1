"""The progress of a run: a bar on a terminal, otherwise lines at intervals."""

import re
import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from rlvr_ray.bulk.report import duration
from rlvr_ray.bulk.statistics import RunStatistics

#: Seconds over which a rate is taken.
WINDOW_S = 60.0
#: Seconds between two lines, in the first minute and later.
LINE_S, LATER_S = 5.0, 30.0
_LINE = re.compile(r"\[ *([\d.]+)%\] (.*)")


class Rate:
    """Decided questions a second, over the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, now: float, decided: int) -> float:
        """With so many decided now."""
        self._seen.append((now, decided))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW_S:
            self._seen.popleft()
        since, before = self._seen[0]
        return (decided - before) / (now - since) if now > since else 0.0


def line(stats: RunStatistics, rate: float, total: int | None) -> str:
    """Where a run is. ``rate``: decided questions a second; ``total``: questions, if known."""
    done = stats.decided - stats.before + stats.known + stats.failures.total()
    share = f"[{min(100.0, 100 * done / max(total, 1)):5.1f}%] " if total is not None else ""
    parts = [
        f"{stats.pairs:,} pair{'' if stats.pairs == 1 else 's'} of {stats.decided:,} decided",
        f"{stats.undecided:,} being verified",
        f"{stats.failures.total():,} left out",
        f"{rate:.1f}/s",
    ]
    if total is not None and rate > 0 and done < total:
        parts.append(f"{duration((total - done) / rate)} left")
    if stats.waiting:
        parts.append(f"waiting: {stats.reason}")
    elif stats.stalled:
        parts.append(f"waiting for outcomes: {stats.stalled}")
    elif stats.repeats:
        parts.append(f"waited {stats.repeats:,} times, last for: {stats.reason}")
    return share + ", ".join(parts)


class Bar:
    """One line that is written anew on a terminal; elsewhere each is printed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if console.is_terminal:
            self._bar = Progress(
                BarColumn(bar_width=24),
                TextColumn("{task.fields[text]}", markup=False),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=None, text="")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, text: str) -> None:
        """A line of a run's progress, or any other: that stays."""
        found = _LINE.fullmatch(text)
        if self._bar is None or not (found or " decided, " in text):
            self._console.print(Text(text), soft_wrap=True)
        elif found:
            share, rest = found.groups()
            self._bar.update(self._task, total=100, completed=float(share), text=rest)
        else:
            self._bar.update(self._task, text=text)


class ProgressLines:
    """Shows a run's progress: at once on a terminal, elsewhere now and then."""

    def __init__(self, console: Console, bar: Bar) -> None:
        self._often = console.is_terminal
        self._bar = bar
        self._rate = Rate()
        self._started = time.monotonic()
        self._next = self._started + (0 if self._often else LINE_S)
        self.total: int | None = None  #: of the questions, once it is known

    def show(self, stats: RunStatistics) -> None:
        """Show where the run is, if it is time for that."""
        now = time.monotonic()
        rate = self._rate.at(now, stats.decided - stats.before)
        if now < self._next:
            return
        if not self._often:
            self._next = now + (LINE_S if now < self._started + WINDOW_S else LATER_S)
        self._bar.show(line(stats, rate, self.total))
