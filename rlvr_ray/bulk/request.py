"""The options of ``rlvr generate``."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from rlvr_ray.core.errors import InputError
from rlvr_ray.settings import DEFAULT_CANDIDATES, MAX_TOP_K, Settings
from rlvr_ray.settings.options import Candidates, DataDir, NumCandidates, Port, settings_of

#: Questions answered at once, unless the command says otherwise.
AT_ONCE = 32
_RUN = "A name of letters, digits and ._- ; part of every batch id."
_RUN_NAME = re.compile(r"(?![.-])[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line asked for: each field is an option, with its help."""

    files: Annotated[
        list[str], typer.Argument(help="JSONL, CSV, Parquet or text: paths, folders, URIs.")
    ]
    run: Annotated[str, _RUN]
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that has begun.")] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate time and cost; ask nothing.")
    ] = False
    limit: Annotated[int | None, typer.Option(min=1, help="Ask at most N questions.")] = None
    shuffle_seed: Annotated[
        int | None, typer.Option(help="Ask in a random order; reads all questions first.")
    ] = None
    max_pairs: Annotated[
        int | None, typer.Option(min=1, help="Stop asking once the whole run has N pairs.")
    ] = None
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, help="Stop asking once the whole run will have cost this much."),
    ] = None
    give_up_after: Annotated[
        float | None, typer.Option(min=0.01, help="End after N minutes without progress.")
    ] = None
    question_column: Annotated[str | None, "Default: question."] = None
    id_column: Annotated[str | None, "Default: id, if there is one."] = None
    reference_column: Annotated[str | None, "Default: reference, if there is one."] = None
    candidates: Candidates = None
    num_candidates: NumCandidates = None
    top_k: Annotated[
        int | None, typer.Option(min=1, max=MAX_TOP_K, help="Passages; default: the application's.")
    ] = None
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Limit of an answer; default: the application's.")
    ] = None
    at_once: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Questions answered at once; default: {AT_ONCE}, with llama.cpp its slots.",
        ),
    ] = None
    report: Annotated[
        Path | None,
        typer.Option(help="JSON, a picture beside it; default: runs/RUN.json in the data folder."),
    ] = None
    port: Port = None
    data_dir: DataDir = None
    set: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="A setting to use if the server must be started; prices apply in any case.",
        ),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="The report on stdout.")] = False

    def __post_init__(self) -> None:
        if not _RUN_NAME.fullmatch(self.run):
            raise InputError(
                f"--run {self.run!a}: {_RUN[:1].lower()}{_RUN[1:-1]}; 100 characters at most"
            )

    @property
    def answers(self) -> int:
        """Candidates of a question."""
        return self.candidates or self.num_candidates or DEFAULT_CANDIDATES

    @property
    def settings(self) -> Settings:
        """Those of this process, with what the options say."""
        return settings_of(self.data_dir, self.port, self.set)

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
