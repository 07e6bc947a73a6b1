"""The table in docs/settings.md, made from the settings: `python -m tests.settings_table`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from rlvr_ray.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"


def rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        default = field.default
        if isinstance(default, BaseModel):
            yield from rows(type(default), f"{prefix}{name}.")
        else:
            # The default that depends on the machine is described, not shown.
            text = "one a core, at most 4" if name == "threads" else f"`{_plain(default)}`"
            meaning = " ".join((field.description or "").split())
            yield f"`{prefix}{name}`", "none" if default is None else text, meaning


def table() -> str:
    lines = ["| Setting | Default | |", "|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(Settings)]
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, Path | SecretStr):
        return str(value)
    return value if isinstance(value, str) else json.dumps(value, default=lambda item: item.name)


if __name__ == "__main__":
    head, _, _ = PAGE.read_text("utf-8").partition("| Setting |")
    PAGE.write_text(head + table() + "\n", "utf-8")
