"""Questions that a model writes about the ingested passages: ``rlvr questions``.

``maker`` is the run, ``writing`` the prompt and its reply, ``gates`` the rules for keeping a
question, ``files`` the two files that a run appends to.
"""

from dataclasses import dataclass
from typing import Annotated

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
