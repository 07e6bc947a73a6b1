"""Server-sent events, from bytes as they come (WHATWG HTML, "Server-sent events")."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: httpx splits lines at U+2028 as well, which JSON may hold as it is.
_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Sent:
    """One event: its name and its data."""

    name: str
    data: str


class EventStream:
    """Reads one stream; ``last_id`` is the last id that it told, if it did."""

    def __init__(self) -> None:
        self.last_id: str | None = None
        self._rest = b""
        self._started = False
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[Sent]:
        """The events that this chunk completes."""
        text = self._rest + chunk
        if not self._started and len(text) >= 3:
            self._started = True
            text = text.removeprefix(b"\xef\xbb\xbf")
        # A \n may follow with the next chunk: then both are one line end.
        held = b"\r" if text.endswith(b"\r") else b""
        *lines, rest = _LINE_END.split(text[: len(text) - len(held)])
        self._rest = rest + held
        for line in lines:
            if line:
                self._field(line.decode("utf-8", "replace"))
                continue
            if self._data:
                yield Sent(self._name or "message", "\n".join(self._data))
            self._name, self._data = "", []

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self.last_id = value
