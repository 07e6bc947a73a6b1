"""The decorator of commands: options, ``--config``, exit codes, one line for an error.

    @app.command()
    def rebuild(data_dir: DataDir = None) -> None: ...

A parameter whose type is a dataclass becomes one option for each field:
``Annotated[int, "Its help."]`` or ``Annotated[int, typer.Option(…)]``. Heavy modules are imported
inside the command.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 no server answers, 130 interrupted.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer
import typer.core

from rlvr_ray.cli.terminal import err
from rlvr_ray.core.errors import ConfigError, InputError, RlvrError, Unavailable
from rlvr_ray.settings import config as settings_from

F = TypeVar("F", bound=Callable[..., Any])

Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML with settings, in place of RLVR_CONFIG.")
]
#: Whole numbers of dataclasses may be written 1e6.
_READ_AS = {int: float, int | None: float | None}


def _without_metavar(params: list[Any]) -> list[Any]:
    """In the help, options that take no value show none: typer writes ``<bool>``."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


class _Command(typer.core.TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_metavar(super().get_params(ctx))


class _Group(typer.core.TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_metavar(super().get_params(ctx))


class App(typer.Typer):
    """A group of commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=_Group, **options)

    def command(
        self, name: str | None = None, *, settings: bool = True, **options: Any
    ) -> Callable[[F], F]:
        """As typer's; without ``settings`` there is no ``--config``."""

        def register(command: F) -> F:
            whole = _as_command(command, settings=settings)
            super(App, self).command(name, cls=_Command, **options)(whole)
            return command

        return register

    def default(self, command: F) -> F:
        """Run this where the group is given no command."""
        self.callback(invoke_without_command=True)(_as_command(command, settings=True))
        return command


def _as_command(command: Callable[..., None], *, settings: bool) -> Callable[..., None]:
    parameters: list[inspect.Parameter] = []
    records: dict[str, type[Any]] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        kind = parameter.annotation
        if isinstance(kind, type) and is_dataclass(kind):
            records[parameter.name] = kind
            parameters += _options(kind)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    if settings:
        parameters.append(_parameter("config", Config, None))

    @functools.wraps(command)
    def run(**given: Any) -> None:
        try:
            with settings_from(given.pop("config", None)):
                for name, kind in records.items():
                    values = {field.name: given.pop(field.name) for field in fields(kind)}
                    given[name] = _record(kind, values, command.__name__)
                command(**given)
        except RlvrError as error:
            err.print(f"rlvr: {error}", style="red", markup=False, soft_wrap=True)
            code = 2 if isinstance(error, ConfigError | InputError) else 1
            raise typer.Exit(3 if isinstance(error, Unavailable) else code) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _options(kind: type[Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        hint = hints[field.name]
        if get_origin(hint) is Annotated and isinstance(help_ := get_args(hint)[1], str):
            base = get_args(hint)[0]
            hint = Annotated[_READ_AS.get(base, base), typer.Option(help=help_)]
        yield _parameter(field.name, hint, default)


def _record(kind: type[Any], values: dict[str, Any], command: str) -> Any:
    hints = get_type_hints(kind)
    try:
        for name, value in values.items():
            if isinstance(value, float) and hints[name] in _READ_AS:
                if not value.is_integer():
                    words = name.replace("_", " ")
                    raise ValueError(f"{words} must be a whole number; not {value:g}")
                values[name] = int(value)
        return kind(**values)
    except ValueError as error:
        raise InputError(f"{error} (see rlvr {command} --help)") from None


app = App(
    help="Questions over your documents become verified DPO preference pairs, on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
