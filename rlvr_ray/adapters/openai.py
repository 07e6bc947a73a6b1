"""A judge on a server that speaks OpenAI's protocol: OpenAI, vLLM, llama.cpp, Ollama and others.

Each sample is a request of its own. Whoever leaves has the connection closed; since replies are
not streamed, some servers notice that late: llama.cpp only once it answered nobody for a second,
Ollama and a gateway in between perhaps never. They then decode to ``max_tokens`` at most.

The client repeats what fails for the moment (a connection that drops, HTTP 408, 409, 429 and 5xx)
``judge.retries`` times. It waits for as long as ``Retry-After`` says, up to two minutes; without
that, half a second, twice as long each time up to eight seconds, less a random quarter of it. All
this is part of ``judge.timeout_s``, and repeats do not count in ``judge.requests_per_minute``.

A reply is read as a whole: its size is bounded by ``max_tokens`` where the server is honest, and
only by ``judge.timeout_s`` where it is not.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from rlvr_ray.core.records import Usage
from rlvr_ray.errors import (
    ConfigError,
    ContextOverflow,
    InputError,
    Overloaded,
    RlvrError,
    TimedOut,
    Unavailable,
)
from rlvr_ray.ports import Completion, Piece, Prompt, Sample
from rlvr_ray.settings import EngineSettings
from rlvr_ray.tasks import gather

#: Longest wait for one connection, in seconds: past it the server is down, not slow.
CONNECT_S = 5.0
#: Longest wait of ``check``, in seconds.
CHECK_S = 10.0
#: Characters that are quoted of what a server says.
QUOTED = 200
#: So many characters in a row that also stand in the prompt: the server quotes it.
SHARED = 24
#: HTTP statuses of a request that a server does not know.
UNKNOWN = (400, 404, 405, 422, 501)
#: What servers write for the logarithm of probability 0.
ABSENT = -9999.0

#: What an HTTP header can carry after ``Bearer``.
KEY = re.compile(r"[!-~]*")
#: How servers say that a prompt is too long.
TOO_LONG = re.compile(
    r"context[ _](length|size|window)|exceed_context_size|maximum model length|max_model_len"
    r"|(prompt|input) is too long|too many (input |prompt )?tokens",
    re.IGNORECASE,
)
#: Reasons to end that mean the token limit.
CUT = ("length", "max_tokens", "model_length")
#: Reasons to end that mean that there is no answer.
BROKEN_OFF = ("abort", "error")
FILTERED = ("content_filter", "content_policy_violation")


class OpenAIChat:
    """A Generator over one model of such a server."""

    def __init__(self, settings: EngineSettings) -> None:
        import openai

        self._key = settings.api_key or SecretStr("")
        where = _address(settings.base_url)
        if not settings.model:
            raise ConfigError("judge.model is not set; give the model's name on the judge's server")
        if not KEY.fullmatch(self._key.get_secret_value()):
            # An HTTP library would quote it in its error.
            raise ConfigError("judge.api_key has a space, a line break or a letter outside ASCII")
        self.model = settings.model
        self._settings = settings
        self._server = f"the {settings.section}'s server {where}"
        self._section = settings.section
        self._openai = openai
        # OPENAI_ORG_ID and OPENAI_PROJECT_ID are for other servers, as OPENAI_API_KEY is.
        not_from_the_environment: Any = {
            "OpenAI-Organization": openai.omit,
            "OpenAI-Project": openai.omit,
        }
        try:
            self._client = openai.AsyncOpenAI(
                base_url=settings.base_url,
                # Never empty: the client would take OPENAI_API_KEY, and send it to this server.
                api_key=self._key.get_secret_value() or "none",
                max_retries=settings.retries,
                # Pauses within a reply say nothing: the time of the whole is limited.
                timeout=openai.Timeout(None, connect=CONNECT_S),
                default_headers=not_from_the_environment,
            )
        except Exception as error:  # an odd URL, a proxy or certificates that do not work, ...
            raise ConfigError(f"judge.base_url: no way to {where}: {_line(str(error))}") from None

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        """See ``ports.Generator``; the first failure cancels the requests beside it.

        A prompt that is too long, or whose answer the server withholds, has the InputError in its
        place. What is wrong with the settings raises Unavailable as well: it concerns all
        prompts, and none of them is lost while somebody mends it.
        """
        return await gather(*(self._complete(prompt) for prompt in prompts))

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece]:
        """See ``ports.Engine``. A sample comes in one piece, once it is whole."""
        waiting = {
            asyncio.create_task(self._sample(prompt, sample)): index
            for index, sample in enumerate(prompt.samples)
        }
        try:
            while waiting:
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    completion = task.result()
                    index = waiting.pop(task)
                    yield Piece(sample=index, text=completion.text, completion=completion)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def check(self) -> str:
        """The model's name; raises Unavailable or Overloaded where the server does not answer.

        It is asked for its list of models. Not all have one, and some know a model by more names
        than they list: what is in it does not matter.
        """
        client = self._client.with_options(max_retries=0)
        limit_s = min(CHECK_S, self._settings.timeout_s)
        await self._call(client.models.with_raw_response.list, limit_s, may_refuse=True)
        return self.model

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.close()

    async def _complete(self, prompt: Prompt) -> list[Completion] | InputError:
        try:
            return await gather(*(self._sample(prompt, sample) for sample in prompt.samples))
        except InputError as error:
            return error

    async def _sample(self, prompt: Prompt, sample: Sample) -> Completion:
        create: Any = self._client.chat.completions.with_raw_response.create
        body = self._body(prompt, sample)
        reply = await self._call(lambda: create(**body), self._settings.timeout_s, prompt)
        try:
            return self._completion(json.loads(reply), wants_logprobs=prompt.logprobs > 0)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            raise Unavailable(
                f"{self._server} answered with something that is no chat completion; "
                f"is {self._section}.base_url right?"
            ) from None

    def _body(self, prompt: Prompt, sample: Sample) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
            "temperature": sample.temperature,
            "seed": sample.seed,
            # The newer max_completion_tokens is not known to all servers, and those that do not
            # know it write on and on.
            "max_tokens": prompt.max_tokens,
        }
        capabilities = self._settings.capabilities or ("schema",)
        if prompt.json_schema is not None and "schema" in capabilities:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": "reply",
                    "strict": True,
                    "schema": dict(prompt.json_schema),
                },
            }
        if prompt.logprobs:
            body |= {"logprobs": True, "top_logprobs": prompt.logprobs}
        return body

    async def _call(
        self,
        request: Callable[[], Awaitable[Any]],
        limit_s: float,
        prompt: Prompt | None = None,
        *,
        may_refuse: bool = False,
    ) -> bytes:
        """The body of a reply; empty where the server does not know the request, and may."""
        try:
            async with asyncio.timeout(limit_s):
                reply = await request()
            content: bytes = reply.http_response.content
            return content
        except TimeoutError:
            raise TimedOut(f"{self._server} did not answer within {limit_s:g} s") from None
        except self._openai.APIStatusError as error:
            if may_refuse and error.status_code in UNKNOWN:
                return b""
            raise self._meaning(error, prompt) from None
        except self._openai.OpenAIError as error:
            cause = error.__cause__ or error
            why = self._quoted(str(cause) or type(cause).__name__, prompt)
            raise Unavailable(f"{self._server} is not there, or broke off{why}") from None

    def _meaning(self, error: Any, prompt: Prompt | None) -> RlvrError:
        """What a status other than success means to whoever asked."""
        status, said, code = error.status_code, _said(error.body), str(error.code)
        why = f" (HTTP {status}){self._quoted(said, prompt)}"
        if status in (401, 403):
            return Unavailable(
                f"{self._server} refuses the key ({self._section}.api_key), HTTP {status}"
            )
        if status == 429:
            return Overloaded(
                f"{self._server} has too much to do{why}; "
                f"lower {self._section}.concurrency or {self._section}.requests_per_minute"
            )
        if status >= 500:
            return Unavailable(f"{self._server} failed{why}")
        if status == 413 or (status in (400, 422) and TOO_LONG.search(f"{code} {said}")):
            return ContextOverflow(
                f"the prompt is too long for {self._server}{why}; "
                "ask for fewer passages (top_k), or choose a model of a larger context"
            )
        if status in (400, 422) and code in FILTERED:
            return InputError(f"{self._server} withholds its answer: its content filter")
        return Unavailable(
            f"{self._server} refuses the request{why}; "
            f"check {self._section}.base_url, {self._section}.model and "
            f"{self._section}.capabilities"
        )

    def _completion(self, reply: Any, *, wants_logprobs: bool) -> Completion:
        """The first choice; raises what indexing raises where the reply has another shape."""
        choice = reply["choices"][0]
        text, reason = choice["message"].get("content"), choice.get("finish_reason")
        if reason in FILTERED:
            raise InputError(f"{self._server} withholds its answer: its content filter")
        if text is None and choice["message"].get("refusal"):
            raise InputError(f"{self._server} withholds its answer: the model declines")
        if reason in BROKEN_OFF:
            raise Unavailable(f"{self._server} broke off the answer")
        if not isinstance(text, str | None):
            raise TypeError("an answer is text")
        text = _unicode(text or "").strip()
        logprobs = _logprobs(choice) if wants_logprobs else ()
        if logprobs is None:
            if text:
                raise Unavailable(
                    f"{self._server} returns no log-probabilities: choose the verifier `ragas`, "
                    "or another server"
                )
            logprobs = ()  # where it wrote nothing, there is nothing to tell
        name = reply.get("model")
        return Completion(
            text=text,
            finish_reason="length" if reason in CUT else "stop",
            model=_unicode(name) if isinstance(name, str) and name else self.model,
            usage=_usage(reply.get("usage")),
            logprobs=logprobs,
        )

    def _quoted(self, said: str, prompt: Prompt | None) -> str:
        """What the server said, after a colon; not the key, and not what stands in the prompt."""
        said = _line(said)
        if key := self._key.get_secret_value():
            said = said.replace(key, "[key]")
        said = said[:QUOTED]
        for message in prompt.messages if prompt else ():
            content = _line(message.content)
            if any(said[i : i + SHARED] in content for i in range(len(said) - SHARED + 1)):
                return ""
        return f": {said}" if said else ""


def _address(base_url: str | None) -> str:
    """Host and port, for messages; raises ConfigError where the URL has none, or a password."""
    try:
        parts = urlsplit(base_url or "")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise ConfigError(
            "judge.base_url is no URL of a server; give one, such as http://localhost:11434/v1"
        )
    if parts.username or parts.password:
        # Logs and errors name URLs.
        raise ConfigError("judge.base_url must not hold a user or password; use judge.api_key")
    return f"{host}:{port}" if port else host


def _said(body: Any) -> str:
    """The words of an error's body: servers put them in different places."""
    while not isinstance(body, str):
        if isinstance(body, Mapping):
            names = ("message", "msg", "detail", "error")
            body = next((body[name] for name in names if body.get(name)), "")
        else:
            body = body[0] if isinstance(body, list) and body else ""
    return "" if body.lstrip().startswith("<") else body  # a gateway's page says nothing


def _line(text: str) -> str:
    """One line without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _unicode(text: str) -> str:
    """The text as records can hold it: JSON may escape halves of characters, and NUL."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")


def _usage(usage: Any) -> Usage:
    """The tokens that the server counted; zeros where it did not."""
    given = usage if isinstance(usage, Mapping) else {}
    details = given.get("prompt_tokens_details")
    return Usage(
        prompt_tokens=_count(given.get("prompt_tokens")),
        completion_tokens=_count(given.get("completion_tokens")),
        cached_tokens=_count(details.get("cached_tokens") if isinstance(details, Mapping) else 0),
    )


def _count(value: Any) -> int:
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return value if known else 0


def _logprobs(choice: Any) -> tuple[dict[str, float], ...] | None:
    """For each place the likeliest tokens; None where the server tells none."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if logprobs is not None else None
    return None if content is None else tuple(_likeliest(place) for place in content)


def _likeliest(place: Any) -> dict[str, float]:
    """Tokens and logarithms; of tokens that are different bytes of the same text, the likelier."""
    found: dict[str, float] = {}
    for each in place.get("top_logprobs") or [place]:
        token, value = each["token"], each["logprob"]
        # NaN fails every comparison; what is above 0 by more than rounding is no logarithm.
        if isinstance(token, str) and isinstance(value, int | float) and ABSENT < value < 1e-3:
            found[token] = max(found.get(token, ABSENT), min(float(value), 0.0))
    return found
