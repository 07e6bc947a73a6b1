"""What ``rlvr generate`` was asked for."""

from dataclasses import dataclass, fields
from pathlib import Path

#: Questions answered at once, unless that is said.
AT_ONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line asked for; the names are those of its options."""

    files: list[str]
    run: str
    resume: bool
    dry_run: bool
    limit: int | None
    shuffle_seed: int | None
    max_pairs: int | None
    max_cost: float | None
    give_up_after: float | None
    question_column: str | None
    id_column: str | None
    reference_column: str | None
    candidates: int
    top_k: int | None
    max_tokens: int | None
    at_once: int | None
    report: Path | None
    set: list[str]
    json: bool

    def command(self) -> list[str]:
        """The same as a command for another process, whose working directory is another one."""
        words = ["rlvr", "generate", "--here"]
        for field in fields(self):
            value = getattr(self, field.name)
            option = f"--{field.name.replace('_', '-')}"
            if field.name == "files" or value is None or value is False:
                continue
            if value is True:
                words.append(option)
            elif isinstance(value, list):
                words += [word for each in value for word in (option, each)]
            else:
                words += [option, str(value.absolute() if isinstance(value, Path) else value)]
        here = (str(Path(file).absolute()) if Path(file).exists() else file for file in self.files)
        return [*words, "--", *here]
