"""The options of ``rlvr export``."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rlvr_ray.core.errors import InputError
from rlvr_ray.training.export.examples import Pair, Pairs, PromptStyle, SplitBy
from rlvr_ray.training.export.formats import FORMATS, Format

#: Below this, rows that say different things are near-duplicates too.
LEAST_ALIKE = 0.5
_LANGUAGE = re.compile("[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be exported: each field is an option of ``rlvr export``, with its help.

    Raises InputError for what cannot be exported.
    """

    format: Annotated[Format, "Output format: a trainer's name, or sft, rewards, no-pair."]
    out: Annotated[Path, "A new or an empty folder."]
    prompt: Annotated[PromptStyle, "The question, or the chat with its passages."] = "question"
    pairs: Annotated[Pairs, "As decided, or formed anew: dpo.* settings and this strategy."] = (
        "decided"
    )
    human: Annotated[
        bool, typer.Option("--human", help="Apply human reviews: swap pairs, leave pairs out.")
    ] = False
    reviewed_only: Annotated[
        bool, typer.Option("--reviewed-only", help="With --human: only reviewed pairs.")
    ] = False
    eval_share: Annotated[
        float, typer.Option("--eval", help="Share of rows held out; 0: none.")
    ] = 0.1
    split_by: Annotated[
        SplitBy, "Keep these apart: documents and questions, or questions alone."
    ] = "document"
    max_tokens: Annotated[
        int | None, typer.Option(help="Leave out what a trainer with this limit would cut.")
    ] = None
    tokenizer: Annotated[Path | None, "tokenizer.json of the model to be trained."] = None
    near_duplicates: Annotated[
        float | None,
        typer.Option(
            metavar="SIMILARITY",
            help="Leave out rows at least this similar to an earlier one, e.g. 0.8.",
        ),
    ] = None
    decontaminate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="Leave out rows that give away its questions; may be repeated."
        ),
    ] = None
    decontaminate_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of those; default: question.")
    ] = None
    parquet: Annotated[bool, typer.Option("--parquet/--jsonl", help="Kind of file.")] = False
    license: Annotated[str | None, "For the dataset card, such as cc-by-4.0."] = None
    language: Annotated[list[str] | None, "For the card, such as en; may be repeated."] = None

    def __post_init__(self) -> None:
        if self.pairs != "decided" and not self.has_pairs:
            raise InputError(f"--pairs selects pairs, and the format {self.format} has none")
        if self.reviewed_only and not self.human:
            raise InputError("--reviewed-only goes with --human")
        if self.human and self.dataset != "dpo_data":
            raise InputError(
                "--human applies to the pairs that were decided: choose a format of pairs, and "
                "--pairs decided"
            )
        if not 0 <= self.eval_share < 1:
            raise InputError(f"--eval must be from 0 and below 1, not {self.eval_share}")
        if (self.max_tokens is None) != (self.tokenizer is None):
            raise InputError(
                "--max-tokens and --tokenizer go together: N, and the tokenizer.json of the "
                "model to be trained"
            )
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InputError(f"--max-tokens must be at least 1, not {self.max_tokens}")
        if self.near_duplicates is not None and not LEAST_ALIKE <= self.near_duplicates <= 1:
            raise InputError(
                f"--near-duplicates must be from {LEAST_ALIKE} to 1, not {self.near_duplicates}"
            )
        if self.decontaminate_column and not self.decontaminate:
            raise InputError("--decontaminate-column goes with --decontaminate")
        for language in self.language or ():
            if not _LANGUAGE.fullmatch(language):
                raise InputError(f"--language {language}: write a code such as en or pt-BR")
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"{self.out} is a file; name a folder")
        if self.out.is_dir() and any(self.out.iterdir()):
            raise InputError(f"{self.out} is not empty; name a new folder, or empty this one")

    @property
    def has_pairs(self) -> bool:
        """Whether its rows are pairs."""
        return FORMATS[self.format].source is Pair

    @property
    def dataset(self) -> str:
        """Whose rows it takes."""
        decided = self.has_pairs and self.pairs == "decided"
        return "dpo_data" if decided else "training_data"
