"""What the documentation says of the settings is what they are."""

from tests.settings_table import PAGE, table


def test_the_table_of_settings_is_current() -> None:
    assert table() in PAGE.read_text("utf-8"), "run: python -m tests.settings_table"
