"""Parameters that a server refuses, learned from its errors.

Servers do not announce their features, so requests first use all parameters. If an error names a
parameter that is not essential, the request is sent again without it, and later requests leave it
out. A parameter that a server silently ignores cannot be detected.
"""

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

#: HTTP statuses of a request that a server does not understand.
STATUSES = (400, 404, 422, 501)
#: Codes of an error that mean that a content filter withholds the answer.
FILTERED = ("content_filter", "content_policy_violation")
#: How servers say that a prompt is too long.
TOO_LONG = re.compile(
    r"context[ _](length|size|window)|exceed_context_size|maximum model length|max_model_len"
    r"|(prompt|input) is too long|too many (input |prompt )?tokens",
    re.IGNORECASE,
)
#: Parameters that can be spared, and how it goes on without them.
SPARED = {
    "response_format": "JSON schemas are not enforced, a strict parser remains",
    "seed": "runs are not repeatable",
    "stream_options": "what is streamed has no token counts",
    "max_tokens": "max_completion_tokens takes its place",
}
#: Parameters that cannot, and what to do where a server refuses them.
NEEDED = {
    "logprobs": "the verifier `ragas` needs none",
    "temperature": "samples differ by it: choose other temperatures, or another model",
}

_NAMES = re.compile(
    r"\b(?:(?P<response_format>response_format|json_schema|structured[ _]outputs?|guided_json)"
    r"|(?P<logprobs>(?:top_)?logprobs)|(?P<stream_options>stream_options|include_usage)"
    r"|(?P<max_tokens>max_tokens)|(?P<seed>seed)|(?P<temperature>temperature))\b",
    re.IGNORECASE,
)
#: Parameters that are words as well: an error that quotes a text may hold them.
_WORDS = ("seed", "temperature")
_ABOUT_A_PARAMETER = re.compile(
    r"support|permit|allow|unknown|unrecogni[sz]ed|unexpected|invalid|extra|must|"
    r"parameter|argument|field|value",
    re.IGNORECASE,
)
#: Levels of an error's body that are looked at.
_DEPTH = 6


class Dialect:
    """The parameters that a server takes, as far as it is known.

    ``capabilities`` are what it is said to be able to do; None means that it may be all.
    """

    def __init__(self, capabilities: Sequence[str] | None) -> None:
        known = {"schema": "response_format", "seed": "seed", "logprobs": "logprobs"}
        self._left_out = {
            parameter
            for capability, parameter in known.items()
            if capabilities is not None and capability not in capabilities
        }

    def takes(self, parameter: str) -> bool:
        """Whether it may be sent."""
        return parameter not in self._left_out

    def leave_out(self, parameter: str) -> bool:
        """Send it no more; return whether that is news."""
        news = self.takes(parameter)
        self._left_out.add(parameter)
        return news

    def fitted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A request's body as this server takes it."""
        fitted = {name: value for name, value in body.items() if self.takes(name)}
        if not self.takes("max_tokens"):
            fitted["max_completion_tokens"] = body["max_tokens"]
        return fitted


def refused(body: Any, code: str, sent: Container[str]) -> str | None:
    """The parameter, of those that were sent, that an error names; the first, where it names many.

    None where it names none: then something else is wrong, or a parameter's value.
    """
    text = message_of(body)
    renamed = "max_completion_tokens" in text or code == "unsupported_parameter"
    about_a_parameter = _ABOUT_A_PARAMETER.search(text) is not None
    for place in (*_places(body), text):
        for match in _NAMES.finditer(place):
            name = match.lastgroup
            if name is None or name not in sent or (name == "max_tokens" and not renamed):
                continue
            if place is text and name in _WORDS and not about_a_parameter:
                continue
            return name
    return None


def message_of(body: Any) -> str:
    """The words of an error's body: servers put them in different places."""
    while not isinstance(body, str):
        if isinstance(body, Mapping):
            names = ("message", "msg", "detail", "error")
            body = next((body[name] for name in names if body.get(name)), "")
        else:
            body = body[0] if isinstance(body, list) and body else ""
    return "" if body.lstrip().startswith("<") else body  # a gateway's page says nothing


def _places(body: Any, depth: int = _DEPTH) -> Iterator[str]:
    """What stands where servers put a parameter's name: OpenAI's ``param``, pydantic's ``loc``."""
    if isinstance(body, list) and depth:
        for each in body:
            yield from _places(each, depth - 1)
    elif isinstance(body, Mapping) and depth:
        for key, value in body.items():
            if key == "param" and isinstance(value, str):
                yield value
            elif key == "loc" and isinstance(value, list):
                yield ".".join(map(str, value))
            elif key != "input":  # what we sent
                yield from _places(value, depth - 1)
