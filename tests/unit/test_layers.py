"""The walls of the design: which module may import what."""

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "rlvr_ray"


@dataclass(frozen=True)
class Import:
    """One thing that a module imports; ``from a import b`` is both ``a`` and ``a.b``."""

    file: str
    line: int
    module: str
    name: str | None

    def __str__(self) -> str:
        what = f"from {self.module} import {self.name}" if self.name else f"import {self.module}"
        return f"{self.file}:{self.line}: {what}"

    def reaches(self, *targets: str) -> bool:
        """Whether it loads a target, or something inside of one."""
        whole = f"{self.module}.{self.name}" if self.name else self.module
        return any(f"{whole}.".startswith(f"{target}.") for target in targets)

    @property
    def top(self) -> str:
        return self.module.split(".")[0]


class _Reader(ast.NodeVisitor):
    """Imports anywhere in a module, but for those that only type checkers follow."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Import] = []
        self.checking: set[str] = {"TYPE_CHECKING"}

    def _add(self, node: ast.AST, module: str, name: str | None = None) -> None:
        self.found.append(Import(self.file, getattr(node, "lineno", 0), module, name))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level:
            package = self.file.removesuffix(".py").split("/")[: -node.level]
            module = ".".join([*package, module]).rstrip(".")
        for alias in node.names:
            self._add(node, module, alias.name)
            if alias.name == "TYPE_CHECKING" and alias.asname:
                self.checking.add(alias.asname)

    def visit_If(self, node: ast.If) -> None:
        test = node.test
        name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
        for child in node.orelse if name in self.checking else [*node.body, *node.orelse]:
            self.visit(child)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", None)
        if name in {"import_module", "__import__"} and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                self._add(node, first.value)
        self.generic_visit(node)


def imports(file: str, source: str) -> list[Import]:
    reader = _Reader(file)
    reader.visit(ast.parse(source, file))
    return reader.found


@dataclass(frozen=True)
class Wall:
    """``forbids`` says of one import of a module in ``inside`` whether it breaks the wall."""

    says: str
    inside: Callable[[str], bool]
    forbids: Callable[[Import], bool]


def _one_of(*files: str) -> Callable[[str], bool]:
    return lambda file: file.removeprefix(f"{PACKAGE}/") in files


def _below(*folders: str) -> Callable[[str], bool]:
    return lambda file: file.startswith(folders)


def _only(*allowed: str, standard: bool = True) -> Callable[[Import], bool]:
    """Forbids all but these and, if ``standard``, the standard library."""

    def forbids(found: Import) -> bool:
        known = standard and found.top in sys.stdlib_module_names
        return not known and not found.reaches(*allowed)

    return forbids


def _own(*modules: str) -> tuple[str, ...]:
    return tuple(f"{PACKAGE}.{module}" for module in modules)


SHELL = (
    "actors.py",
    "app.py",
    "bulk/driver.py",
    "doctor.py",
    "downloads.py",
    "export/decontamination.py",
    "engines.py",
    "export/folder.py",
    "export/human.py",
    "ingestion.py",
    "judging.py",
    "maintenance.py",
    "reading.py",
)
RAY = ("actors.py", "remote.py", "app.py", "ray_metrics.py", "bulk/submission.py")
OUTER = _own("actors", "remote", "app", "api", "cli", "judging", "maintenance")
MIDDLE = (
    "live.py",
    "pipeline.py",
    "aggregator.py",
    "archive.py",
    "audit.py",
    "commits.py",
    "external.py",
    "facts.py",
    "logs.py",
    "metrics.py",
    "mirror.py",
    "panel.py",
    "projection.py",
    "stats.py",
)


def _foreign_adapter(found: Import) -> bool:
    """Another adapter: the modules of one (``ledger/``) may import each other."""
    if not found.reaches(*_own("adapters")):
        return found.module == PACKAGE and found.name == "adapters"
    own = ".".join(found.file.removesuffix(".py").split("/")[:3])
    return not found.reaches(own)


WALLS = [
    Wall(
        "core/ imports the standard library and rlvr_ray.core only",
        _below("rlvr_ray/core/"),
        _only(*_own("core")),
    ),
    Wall(
        "ports.py imports core, errors and numpy only",
        _one_of("ports.py"),
        _only(*_own("core", "errors"), "numpy"),
    ),
    Wall(
        "errors.py and tasks.py import the standard library only",
        _one_of("errors.py", "tasks.py"),
        _only(),
    ),
    Wall(
        "the middle (pipeline, aggregator, what it is made of) knows neither Ray nor an adapter "
        "nor who calls it",
        _one_of(*MIDDLE),
        lambda found: found.top == "ray" or found.reaches(*_own("adapters", "amqp"), *OUTER),
    ),
    Wall(
        "of this package amqp.py imports errors and tasks only",
        _one_of("amqp.py"),
        lambda found: found.top == PACKAGE and not found.reaches(*_own("errors", "tasks")),
    ),
    Wall(
        "of this package consumer.py and messages.py, which others run, import each other, core, "
        "errors, tasks and amqp only",
        _one_of("consumer.py", "messages.py"),
        lambda found: (
            found.top == PACKAGE
            and not found.reaches(*_own("core", "errors", "tasks", "amqp", "consumer", "messages"))
        ),
    ),
    Wall(
        "an adapter imports no other adapter",
        _below("rlvr_ray/adapters/"),
        _foreign_adapter,
    ),
    Wall(
        "of this package an adapter imports core, ports, errors and the leaves only",
        _below("rlvr_ray/adapters/"),
        lambda found: (
            found.top == PACKAGE
            and not found.reaches(*_own("adapters"))
            and not found.reaches(
                *_own("core", "ports", "errors", "settings", "setting_errors", "codec", "models"),
                *_own("tasks"),
                *_own("amqp", "consumer"),
            )
        ),
    ),
    Wall(
        f"only {', '.join(RAY)} and jobs/ import Ray",
        lambda file: not _one_of(*RAY)(file) and not _below("jobs/")(file),
        lambda found: found.top == "ray",
    ),
    Wall(
        f"only the shell ({', '.join(SHELL)}) and jobs/ choose adapters",
        lambda file: not _one_of(*SHELL)(file) and not _below("rlvr_ray/adapters/", "jobs/")(file),
        lambda found: found.reaches(*_own("adapters")),
    ),
    Wall(
        "only adapters/opentelemetry.py imports OpenTelemetry, which nobody needs with tracing off",
        lambda file: not _one_of("adapters/opentelemetry.py")(file),
        lambda found: found.top == "opentelemetry",
    ),
    Wall(
        "nothing that ships imports tests",
        lambda file: True,
        lambda found: found.top == "tests",
    ),
]


def broken(file: str, source: str) -> Iterator[str]:
    for found in imports(file, source):
        for wall in WALLS:
            if wall.inside(file) and wall.forbids(found):
                yield f"{found}    ({wall.says})"


def shipped() -> list[str]:
    files = [*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "jobs").rglob("*.py")]
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


@pytest.mark.parametrize("file", shipped())
def test_the_walls_stand(file: str) -> None:
    problems = list(broken(file, (ROOT / file).read_text("utf-8")))
    assert not problems, "\n" + "\n".join(problems)


def test_there_is_something_to_look_at() -> None:
    files = shipped()
    for name in ("core/records.py", "ports.py", "amqp.py", "adapters/ledger/reader.py", *MIDDLE):
        assert f"{PACKAGE}/{name}" in files, "a wall without a module holds nothing"
    assert len([file for file in files if file.startswith("rlvr_ray/adapters/")]) > 3
    assert imports("rlvr_ray/actors.py", (ROOT / "rlvr_ray/actors.py").read_text("utf-8"))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("core/rows.py", "import numpy"),
        ("core/rows.py", "import numpy.typing as npt"),
        ("core/rows.py", "from rlvr_ray import codec"),
        ("core/rows.py", "from rlvr_ray.ports import Document"),
        ("core/rows.py", "from rlvr_ray import __version__"),
        ("core/rows.py", "from .. import ports"),
        ("core/rows.py", "from ..errors import InputError"),
        ("core/deep/er.py", "from ... import errors"),
        ("core/rows.py", "def late():\n    import pydantic"),
        ("core/rows.py", "class A:\n    def late(self):\n        from pydantic import BaseModel"),
        ("core/rows.py", "try:\n    import orjson\nexcept ImportError:\n    pass"),
        ("core/rows.py", "if True:\n    import orjson"),
        ("core/rows.py", "import importlib\nimportlib.import_module('orjson')"),
        ("core/rows.py", "x = __import__('orjson').dumps"),
        ("core/rows.py", "import corelike, rlvr_ray.corelike"),
        (
            "core/rows.py",
            "if TYPE_CHECKING:\n    import json\nelse:\n    import orjson",
        ),
        ("core/rows.py", "if not TYPE_CHECKING:\n    import orjson"),
        ("ports.py", "import pydantic"),
        ("ports.py", "from rlvr_ray.settings import Settings"),
        ("ports.py", "from rlvr_ray import codec"),
        ("errors.py", "from rlvr_ray.core import ids"),
        ("pipeline.py", "import ray"),
        ("pipeline.py", "from ray import serve"),
        ("aggregator.py", "import ray.util"),
        ("aggregator.py", "def late():\n    from rlvr_ray.adapters.ledger import Ledger"),
        ("commits.py", "from rlvr_ray.adapters.ledger import Ledger"),
        ("commits.py", "import ray"),
        ("mirror.py", "from rlvr_ray.adapters.rabbitmq import RabbitMQ"),
        ("mirror.py", "from rlvr_ray import amqp"),
        ("mirror.py", "from rlvr_ray.actors import APP"),
        ("external.py", "from rlvr_ray.maintenance import rebuild"),
        ("amqp.py", "from rlvr_ray.settings import MirrorSettings"),
        ("amqp.py", "from rlvr_ray.adapters.rabbitmq import RabbitMQ"),
        ("consumer.py", "from rlvr_ray.settings import Settings"),
        ("consumer.py", "from rlvr_ray.adapters import rabbitmq"),
        ("messages.py", "from rlvr_ray.ports import Posted"),
        ("projection.py", "from rlvr_ray.adapters import dataset"),
        ("projection.py", "from rlvr_ray import adapters"),
        ("projection.py", "from . import adapters"),
        ("pipeline.py", "from rlvr_ray.api import Parts"),
        ("pipeline.py", "from rlvr_ray import actors"),
        ("adapters/ragas.py", "from rlvr_ray.adapters.embedding import MiniLM"),
        ("adapters/ragas.py", "from rlvr_ray.adapters import embedding"),
        ("adapters/ragas.py", "from rlvr_ray import adapters"),
        ("adapters/ragas.py", "from . import embedding"),
        ("adapters/ragas.py", "from .embedding import MiniLM"),
        ("adapters/ragas.py", "from rlvr_ray.adapters.ledger import Ledger"),
        ("adapters/ragas.py", "from .ledger.reader import Reader"),
        ("adapters/ledger/writer.py", "from rlvr_ray.adapters.dataset import Dataset"),
        ("adapters/ledger/writer.py", "from rlvr_ray.adapters import dataset"),
        ("adapters/ledger/writer.py", "from rlvr_ray import adapters"),
        ("adapters/ledger/writer.py", "from .. import dataset"),
        ("adapters/ledger/__init__.py", "from ..dataset import Dataset"),
        ("adapters/ledger/reader.py", "from rlvr_ray.projection import Projector"),
        ("adapters/ledger/reader.py", "def late():\n    import ray"),
        ("adapters/ledger.py", "from rlvr_ray.adapters.ledgers import other"),
        ("adapters/ragas.py", "from rlvr_ray.mirror import Mirror"),
        ("adapters/ragas.py", "from rlvr_ray.commits import Commits"),
        ("adapters/ragas.py", "from rlvr_ray.actors import APP"),
        ("adapters/ragas.py", "from rlvr_ray import app"),
        ("adapters/ragas.py", "import rlvr_ray.cli"),
        ("adapters/ragas.py", "from rlvr_ray.api import create_api"),
        ("adapters/ragas.py", "from rlvr_ray.pipeline import Ask"),
        ("adapters/ragas.py", "def late():\n    import ray"),
        ("api.py", "from ray import serve"),
        ("api.py", "from rlvr_ray.adapters.qdrant import QdrantRetriever"),
        ("cli.py", "def late():\n    import ray"),
        ("cli.py", "from rlvr_ray.adapters.ledger import Ledger"),
        ("ingestion.py", "import ray"),
        ("settings.py", "from rlvr_ray.adapters import ledger"),
        ("cli.py", "from tests.builders import batch"),
        ("actors.py", "import tests.builders"),
        ("tracing.py", "def late():\n    from opentelemetry import trace"),
        ("adapters/rabbitmq.py", "import opentelemetry.sdk"),
    ],
)
def test_the_checker_catches(file: str, source: str) -> None:
    problems = list(broken(f"{PACKAGE}/{file}", source))
    assert problems
    assert all(problem.startswith(f"{PACKAGE}/{file}:") for problem in problems)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("core/rows.py", "import json, os.path\nfrom collections.abc import Mapping"),
        ("core/rows.py", "from rlvr_ray.core import ids\nfrom rlvr_ray.core.records import Batch"),
        ("core/rows.py", "from . import ids\nfrom .records import Batch\nimport rlvr_ray.core.ids"),
        ("core/rows.py", "from rlvr_ray import core"),
        ("core/rows.py", "from __future__ import annotations"),
        ("core/rows.py", "if TYPE_CHECKING:\n    import numpy"),
        ("core/rows.py", "import typing\nif typing.TYPE_CHECKING:\n    import numpy"),
        (
            "core/rows.py",
            "from typing import TYPE_CHECKING as T\nif T:\n    import numpy",
        ),
        ("ports.py", "import numpy as np\nfrom numpy.typing import NDArray"),
        ("ports.py", "from rlvr_ray.errors import InputError\nfrom rlvr_ray import errors, core"),
        ("aggregator.py", "if TYPE_CHECKING:\n    from rlvr_ray.adapters.ledger import Ledger"),
        ("commits.py", "if TYPE_CHECKING:\n    from rlvr_ray.adapters.ledger import Ledger"),
        (
            "mirror.py",
            "from rlvr_ray.ports import Publisher\nfrom rlvr_ray.errors import InputError",
        ),
        ("amqp.py", "import aio_pika\nfrom rlvr_ray.tasks import gather"),
        ("consumer.py", "from rlvr_ray import amqp\nfrom rlvr_ray.core import ids\nimport yarl"),
        ("pipeline.py", "import arrays\nfrom rayon import x"),
        ("adapters/rabbitmq.py", "from rlvr_ray import amqp\nimport aio_pika"),
        ("adapters/ledger/__init__.py", "from rlvr_ray.adapters.ledger.reader import Reader"),
        ("adapters/ledger/__init__.py", "from . import schema\nfrom .reader import Reader"),
        ("adapters/ledger/writer.py", "from rlvr_ray.adapters.ledger import schema\nimport apsw"),
        ("adapters/ledger/writer.py", "from rlvr_ray.adapters import ledger"),
        ("adapters/ragas.py", "import ragas, apsw\nfrom ragas.llms import base"),
        ("adapters/ragas.py", "from rlvr_ray.core import ids\nfrom rlvr_ray.ports import Claim"),
        ("adapters/ragas.py", "from rlvr_ray import codec\nfrom rlvr_ray.tasks import gather"),
        ("actors.py", "import ray\nfrom rlvr_ray.adapters.embedding import MiniLM"),
        ("app.py", "from ray import serve"),
        ("ingestion.py", "from rlvr_ray.adapters.qdrant import QdrantRetriever"),
        ("maintenance.py", "from rlvr_ray.adapters.ledger import Ledger"),
        ("cli.py", "import testsuite"),
    ],
)
def test_the_checker_lets_pass(file: str, source: str) -> None:
    assert list(broken(f"{PACKAGE}/{file}", source)) == []


def test_jobs_may_choose_adapters_and_import_ray() -> None:
    source = "import ray.data\nfrom rlvr_ray.adapters.openai import OpenAI"
    assert list(broken("jobs/generate.py", source)) == []
    assert list(broken("jobs/generate.py", "import tests.builders"))


def test_a_message_names_file_line_and_import() -> None:
    source = "import json\n\n\ndef late():\n    from ray import serve\n"
    (problem, *_) = broken("rlvr_ray/pipeline.py", source)
    assert problem.startswith("rlvr_ray/pipeline.py:5: from ray import serve    (")
