"""The Engine over a server: requests and streams."""

import contextlib
import json
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from rlvr_ray.core.concurrency import emitted_by, gather
from rlvr_ray.core.errors import ConfigError, InputError, Unavailable
from rlvr_ray.core.fields import one_line
from rlvr_ray.generation.engines.openai.failures import Failures, refused_parameter
from rlvr_ray.generation.engines.openai.refusals import NEEDED, SPARED, Dialect
from rlvr_ray.generation.engines.openai.replies import MISSHAPEN, StreamedReply, completion
from rlvr_ray.generation.generator import Completion, CompletionChunk, Prompt, Sample
from rlvr_ray.settings import EngineSettings

log = logging.getLogger(__name__)

#: Longest wait for one connection, in seconds: past it the server is down, not slow.
CONNECT_S = 5.0
#: Longest wait of ``check``, in seconds.
CHECK_S = 10.0
#: HTTP statuses of a server that has no list of models.
UNKNOWN = (400, 404, 405, 422, 501)
#: What an HTTP header can carry after ``Bearer``.
KEY = re.compile(r"[!-~]*")
#: What a request that is streamed has besides.
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


class OpenAIChat:
    """An Engine over one model of such a server."""

    def __init__(self, settings: EngineSettings) -> None:
        import httpx2
        import openai

        key = (settings.api_key or SecretStr("")).get_secret_value()
        self._section = settings.section
        where = _address(settings.base_url, self._section)
        if not settings.model:
            raise ConfigError(
                f"{self._section}.model is not set; give the model's name on the server"
            )
        if not KEY.fullmatch(key):
            # An HTTP library would quote it in its error.
            raise ConfigError(
                f"{self._section}.api_key has a space, a line break or a letter outside ASCII"
            )
        self.model = settings.model
        self._settings = settings
        self._server = f"the {self._section}'s server {where}"
        self._dialect = Dialect(settings.capabilities)
        self._failures = Failures(self._server, self._section, key)
        self._openai, self._reply = openai, httpx2.Response
        # OPENAI_ORG_ID and OPENAI_PROJECT_ID are for other servers, as OPENAI_API_KEY is.
        not_from_the_environment: Any = {
            "OpenAI-Organization": openai.omit,
            "OpenAI-Project": openai.omit,
        }
        try:
            self._client = openai.AsyncOpenAI(
                base_url=settings.base_url,
                # Never empty: the client would take OPENAI_API_KEY, and send it to this server.
                api_key=key or "none",
                max_retries=settings.retries,
                # Half the CPU time a call that the client's own transport takes.
                http_client=openai.DefaultAioHttpClient(),
                # Pauses within a reply say nothing: the time of the whole is limited.
                timeout=openai.Timeout(None, connect=CONNECT_S),
                default_headers=not_from_the_environment,
            )
        except Exception as error:  # an odd URL, a proxy or certificates that do not work, ...
            why = one_line(str(error))
            raise ConfigError(f"{self._section}.base_url: no way to {where}: {why}") from None

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        """See ``Generator``; the first failure cancels the requests beside it.

        A prompt that is too long, or whose answer the server withholds, has the InputError in its
        place. What is wrong with the settings raises Unavailable as well: it concerns all
        prompts, and none of them is lost while somebody mends it.
        """
        return await gather(*(self._complete(prompt) for prompt in prompts))

    def stream(self, prompt: Prompt) -> AsyncGenerator[CompletionChunk]:
        """See ``Engine``. A failure ends all samples; what was emitted is not emitted again."""

        async def write(emit: Callable[[CompletionChunk], None]) -> None:
            samples = range(len(prompt.samples))
            await gather(*(self._write(prompt, index, emit) for index in samples))

        return emitted_by(write)

    async def check(self) -> str:
        """The model's name; raises Unavailable or Overloaded where the server does not answer.

        It is asked for its list of models. Not all have one, and some know a model by more names
        than they list: what is in it does not matter.
        """
        client = self._client.with_options(max_retries=0)
        async with self._failures.translated(min(CHECK_S, self._settings.timeout_s)):
            try:
                await client.models.with_raw_response.list()
            except self._openai.APIStatusError as error:
                if error.status_code not in UNKNOWN:
                    raise
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
        """One sample as a whole."""
        async with self._failures.translated(self._settings.timeout_s, prompt):
            reply = await self._request(prompt, self._body(prompt, sample), self._post)
        with self._failures.reading():
            return self._completion(json.loads(reply.content), prompt)

    async def _write(
        self, prompt: Prompt, index: int, emit: Callable[[CompletionChunk], None]
    ) -> None:
        """One sample, emitted while it is written."""
        reply_so_far = StreamedReply()
        async with self._failures.translated(self._settings.timeout_s, prompt):
            body = self._body(prompt, prompt.samples[index]) | STREAMED
            create = self._client.chat.completions.with_raw_response.create
            reply = await self._request(prompt, body, create)
            with self._failures.reading():
                async with contextlib.aclosing(self._events(reply, prompt)) as events:
                    async for event in events:
                        if text := reply_so_far.add(event):
                            emit(CompletionChunk(sample=index, text=text))
                rest, whole = reply_so_far.end(self._server)
                written = self._completion(whole, prompt)
        emit(CompletionChunk(sample=index, text=rest, completion=written))

    async def _events(self, reply: Any, prompt: Prompt) -> AsyncGenerator[Any]:
        """The JSON of each event of a stream; the connection ends with it."""
        http = reply.http_response
        try:
            if http.headers.get("content-type", "").startswith("application/json"):
                yield json.loads(await http.aread())  # a server that does not stream
                return
            async for event in reply.parse(to=self._openai.AsyncStream[object]):
                yield event
        except (self._openai.OpenAIError, *MISSHAPEN):
            raise
        except Exception as error:  # the client lets those of its HTTP library through
            raise self._failures.broken_off(error, prompt) from None
        finally:
            await http.aclose()

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
        if prompt.json_schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": "reply",
                    "strict": True,
                    "schema": dict(prompt.json_schema),
                },
            }
        if prompt.logprobs:
            if not self._dialect.takes("logprobs"):
                raise Unavailable(
                    f"{self._section}.capabilities has no `logprobs`: {NEEDED['logprobs']}"
                )
            body |= {"logprobs": True, "top_logprobs": prompt.logprobs}
        return body

    async def _post(self, **body: Any) -> Any:
        """As the client's ``create`` does, which first walks through the whole body and its types.

        That costs as much CPU time as all the rest of a call.
        """
        return await self._client.post("/chat/completions", body=body, cast_to=self._reply)

    async def _request(
        self, prompt: Prompt, body: Mapping[str, Any], send: Callable[..., Awaitable[Any]]
    ) -> Any:
        """The client's reply, to be read; asked again without what the server refuses.

        That ends: each time there is a parameter less.
        """
        while True:
            sent = self._dialect.fitted(body)
            try:
                return await send(**sent)
            except self._openai.APIStatusError as error:
                name = refused_parameter(error, sent)
                if name is None:
                    raise
                refuses = f"{self._server} refuses `{name}`{self._failures.details(error, prompt)}"
                if name not in SPARED:
                    raise Unavailable(f"{refuses}; {NEEDED[name]}") from None
                if self._dialect.leave_out(name):
                    level = logging.INFO if name == "max_tokens" else logging.WARNING
                    log.log(level, "%s. It is left out from now on: %s", refuses, SPARED[name])

    def _completion(self, reply: Any, prompt: Prompt) -> Completion:
        if error := reply.get("error"):
            raise self._failures.in_reply(error, prompt)
        return completion(reply, prompt, server=self._server, model=self.model)


def _address(base_url: str | None, section: str) -> str:
    """Host and port, for messages; raises ConfigError where the URL has none, or a password."""
    try:
        parts = urlsplit(base_url or "")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise ConfigError(
            f"{section}.base_url is no URL of a server; give one, such as http://localhost:11434/v1"
        )
    if parts.username or parts.password:
        # Logs and errors name URLs.
        raise ConfigError(
            f"{section}.base_url must not hold a user or password; use {section}.api_key"
        )
    return f"{host}:{port}" if port else host


def model(settings: EngineSettings) -> str:
    """The model's name, unless the server's replies give another one."""
    return settings.model or ""
