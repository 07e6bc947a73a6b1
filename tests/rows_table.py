"""The tables in docs/rows.md: the fields and types of the files, in their order, with the meanings
that stand in the page: `python -m tests.rows_table`, and write what a new field means."""

import re
from pathlib import Path

import pyarrow as pa

from rlvr_ray.dataset.arrow import SCHEMAS

PAGE = Path(__file__).parents[1] / "docs" / "rows.md"
HEAD = "| Field | Type | Meaning |\n|---|---|---|\n"
#: Objects that have a table of their own, by the names that they have in rows.
SHARED = {
    "contexts": "Passages",
    "chosen_provenance": "Provenance",
    "rejected_provenance": "Provenance",
    "assessments": "Assessments",
    "rule": "Rule",
}
TYPES = {"string": "text", "int64": "integer", "double": "number", "bool": "boolean"}


def fields() -> dict[str, dict[str, str]]:
    """Heading → field → type."""
    found: dict[str, dict[str, str]] = {}
    for name, schema in SCHEMAS.items():
        _add(found, f"`{name}`", schema, "")
    return found


def _add(found: dict[str, dict[str, str]], heading: str, columns: pa.StructType, at: str) -> None:
    table = found.setdefault(heading, {})
    for column in columns:
        is_list = pa.types.is_list(column.type)
        kind = column.type.value_type if is_list else column.type
        path = f"{at}{column.name}{'[]' if is_list else ''}"
        if not pa.types.is_struct(kind):
            table[path] = TYPES[str(kind)]
        elif shared := SHARED.get(column.name):
            table[path] = f"[{shared}](#{shared.lower()})"
            _add(found, shared, kind, "")
        else:
            _add(found, heading, kind, f"{path}.")


def meanings(page: str) -> dict[tuple[str, str], str]:
    """(Heading, field) → what the page says of it."""
    found = {}
    heading = ""
    for line in page.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif row := re.fullmatch(r"\| `(.+?)` \| (.*?) \| (.*?) ?\|", line):
            found[heading, row[1]] = row[3]
    return found


def written(page: str) -> str:
    """The page with its tables made anew."""
    said = meanings(page)
    for heading, table in fields().items():
        before, mark, rest = page.partition(f"\n## {heading}\n")
        assert mark, f"docs/rows.md needs the heading: ## {heading}"
        intro, _, rest = rest.partition(HEAD)
        after = re.sub(r"\A(\|.*\n)*", "", rest)
        rows = [f"| `{n}` | {kind} | {said.get((heading, n), '')} |\n" for n, kind in table.items()]
        page = before + mark + intro + HEAD + "".join(rows) + after
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
