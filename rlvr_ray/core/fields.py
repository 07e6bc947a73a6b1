"""Valid contents of record fields, and the conversion of other values."""

import math
from datetime import UTC, datetime

DIGITS = 6  #: decimal places that a score keeps
MAX_COUNT = 2**53 - 1  #: of tokens, milliseconds ...: what every reader of JSON holds exactly
FIRST_YEAR = 1900  #: of a time on record


def unit_interval(name: str, value: float) -> float:
    """Return the value rounded, or raise ValueError unless it is a number in [0, 1]."""
    if not math.isfinite(value) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be a number from 0 to 1, not {value}")
    return round(float(value), DIGITS) + 0.0  # without the sign of a negative zero


def clean_text(name: str, text: str) -> str:
    """Return the text, or raise ValueError if a file, a database or a peer could not hold it."""
    if "\0" in text:
        raise ValueError(f"{name} contains a NUL character")
    if text.isascii():  # most are, and every record is looked at more than once
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} is not valid Unicode: {error.reason}") from None
    return text


def storable(text: str) -> str:
    """The text as records can hold it, of the same length: no halves of characters, no NUL.

    Models write both; in JSON they hide behind escapes.
    """
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")


def one_line(text: str) -> str:
    """The text without control characters, each stretch of white space as one space."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def utc(name: str, time: datetime) -> datetime:
    """Return the time in UTC, or raise ValueError if it names no zone or nobody can mean it."""
    if time.tzinfo is None:
        raise ValueError(f"{name} must have a time zone")
    try:
        time = time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{name} is beyond the calendar") from None
    if time.year < FIRST_YEAR:
        raise ValueError(f"{name} must not be before {FIRST_YEAR}")
    return time


def whole(name: str, value: object, least: int = 0, most: int = MAX_COUNT) -> None:
    """Raise ValueError for an integer out of bounds. Of what type a value is, the codec says."""
    if isinstance(value, int) and not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}")
