"""Text files: Markdown, plain text, reStructuredText."""

from rlvr_ray.core.errors import InputError


def text(name: str, data: bytes) -> str:
    """The text as UTF-8, with a newline at the end of each line. Raises InputError."""
    try:
        decoded = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8: {error.reason} at byte {error.start}") from None
    return decoded.replace("\r\n", "\n").replace("\r", "\n")
