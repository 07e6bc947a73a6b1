"""What the docs say of settings and rows is what there is."""

import re

from tests import rows_table, settings_table


def test_the_table_of_settings_is_current() -> None:
    page = settings_table.PAGE.read_text("utf-8")
    assert settings_table.table() in page, "run: python -m tests.settings_table"


def test_the_rows_page_has_every_field_with_its_meaning() -> None:
    page = rows_table.PAGE.read_text("utf-8")
    assert rows_table.written(page) == page, "run: python -m tests.rows_table"
    said = rows_table.meanings(page)
    lacking = [f"{heading}: {field}" for (heading, field), text in said.items() if not text]
    assert not lacking, "docs/rows.md does not say what these mean"
    assert len(said) == sum(map(len, rows_table.fields().values()))


def test_a_field_that_the_page_lacks_is_found() -> None:
    page = rows_table.PAGE.read_text("utf-8")
    lines = page.splitlines(keepends=True)
    rows = [line for line in lines if re.match(r"\| `", line)]
    for row in rows:
        anew = rows_table.written(page.replace(row, "", 1))
        assert anew != page and f"{row[: row.index(' | ')]} | " in anew
