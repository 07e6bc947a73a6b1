"""Questions that a model writes about the ingested passages: ``rlvr questions``.

``maker`` is the run, ``writing`` the prompt and its reply, ``gates`` the rules for keeping a
question, ``files`` the two files that a run appends to.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

MAX_PER_CHUNK = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is wanted: each field is an option, with its help."""

    limit: Annotated[
        int | None, typer.Option(min=1, help="Questions wanted; default: of every passage.")
    ] = None
    per_chunk: Annotated[
        int, typer.Option(min=1, max=MAX_PER_CHUNK, help="Questions of a passage.")
    ] = 1
    references: Annotated[
        bool, "Have a reference answer written too; leave out questions without one."
    ] = True
    seed: Annotated[
        int, typer.Option(help="Decides the order of passages and the model's sampling.")
    ] = 0
    at_once: Annotated[int, typer.Option(min=1, help="Passages asked about at once.")] = 8


@dataclass(slots=True, kw_only=True)
class MakingStatistics:
    """How far the run is. What earlier runs wrote into the files counts, but for the tokens."""

    passages: int = 0  #: in the store
    documents: int = 0
    done: int = 0  #: passages
    asked: int = 0  #: passages, by this run of the program
    made: int = 0  #: questions in the file
    limit: int | None = None  #: questions wanted; None: as many as can be made
    left_out: Counter[str] = field(default_factory=Counter)  #: drafts, or passages without any
    repeats: int = 0  #: waits for something that was down or had too much to do
    waiting: str | None = None  #: for what, right now
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    stopped: bool = False  #: before all was done

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        names = [name for name in self.__slots__ if name not in ("left_out", "waiting")]
        return {name: getattr(self, name) for name in names} | {"left_out": dict(self.left_out)}
