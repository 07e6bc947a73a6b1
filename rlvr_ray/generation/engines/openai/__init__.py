"""A language model on a server that speaks OpenAI's protocol: OpenAI, vLLM, Ollama and others.

Each sample is a request of its own: ``n`` would draw several at once, but all at one temperature.

Whoever leaves has the connection closed. A server that streams notices that at its next word. Where
it answers ``generate``, which is not streamed, some notice late: llama.cpp only once it answered
nobody for a second, Ollama and a gateway in between perhaps never. They then decode to
``max_tokens`` at most.

Parameters that not every server takes are tried: see ``refusals``.

The client repeats what fails for the moment (a connection that drops, HTTP 408, 409, 429 and 5xx)
``retries`` times, until a reply begins. It waits for as long as ``Retry-After`` says, up to two
minutes; without that, half a second, twice as long each time up to eight seconds, less a random
quarter of it. All this is part of ``timeout_s``, and repeats do not count in
``requests_per_minute``.

A reply's size is bounded by ``max_tokens`` where the server is honest, and only by ``timeout_s``
where it is not.
"""

from rlvr_ray.generation.engines.openai.client import OpenAIChat, model

__all__ = ["OpenAIChat", "model"]
