"""What ``rlvr export`` was asked for."""

import re
from dataclasses import dataclass
from pathlib import Path

from rlvr_ray.core.errors import InputError
from rlvr_ray.training.export.examples import Pairs, PromptStyle, SplitBy
from rlvr_ray.training.export.formats import PAIR_FORMATS, Format

#: Below this, rows that say different things are near-duplicates too.
LEAST_ALIKE = 0.5
_LANGUAGE = re.compile("[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be exported; raises InputError for what cannot be."""

    format: Format
    out: Path  #: a new or an empty folder
    prompt: PromptStyle = "question"
    pairs: Pairs = "decided"
    human: bool = False  #: people's reviews are applied
    reviewed_only: bool = False  #: what nobody has reviewed is left out, too
    eval_share: float = 0.1
    split_by: SplitBy = "document"
    max_tokens: int | None = None
    tokenizer: Path | None = None  #: the trained model's tokenizer.json
    near_duplicates: float | None = None  #: Jaccard bound; None keeps them
    decontaminate: tuple[str, ...] = ()  #: paths or URIs of held-out questions
    decontaminate_column: str | None = None  #: None: ``question``
    parquet: bool = False
    license: str | None = None
    languages: tuple[str, ...] = ()  #: codes, for the card

    def __post_init__(self) -> None:
        if self.pairs != "decided" and not self.has_pairs:
            raise InputError(f"--pairs says which pairs, and {self.format} has none")
        if self.reviewed_only and not self.human:
            raise InputError("--reviewed-only goes with --human")
        if self.human and self.dataset != "dpo_data":
            raise InputError(
                "--human is about the pairs that were decided: choose a format of pairs, and "
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
            raise InputError("--decontaminate-column says of which column; add --decontaminate")
        for language in self.languages:
            if not _LANGUAGE.fullmatch(language):
                raise InputError(f"--language {language}: write a code such as en or pt-BR")
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"{self.out} is a file; name a folder")
        if self.out.is_dir() and any(self.out.iterdir()):
            raise InputError(f"{self.out} is not empty; name a new folder, or empty this one")

    @property
    def has_pairs(self) -> bool:
        """Whether its rows are pairs."""
        return self.format in PAIR_FORMATS

    @property
    def dataset(self) -> str:
        """Whose rows it takes."""
        decided = self.has_pairs and self.pairs == "decided"
        return "dpo_data" if decided else "training_data"
