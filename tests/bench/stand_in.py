"""A stand-in for a server of language models: OpenAI's protocol, and each chat takes 50 ms."""

import asyncio
import json
import math
import multiprocessing
import zlib
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, Self

from rlvr_ray.cli import demo

LATENCY_S = 0.05


class StandIn:
    """The server, in a process of its own for as long as the block runs.

    ``answers`` and ``verdicts`` count the chats that it was asked for.
    """

    def __enter__(self) -> Self:
        self.answers = multiprocessing.Value("q", 0)
        self.verdicts = multiprocessing.Value("q", 0)
        ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(
            target=serve, args=(theirs, self.answers, self.verdicts), daemon=True
        )
        self._process.start()
        self.url = f"http://127.0.0.1:{ours.recv()}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def settings(self) -> dict[str, Any]:
        """Of an application whose generator and judge it is."""
        return {
            "generator": {"base_url": self.url, "model": "stand-in", "concurrency": 512},
            "judge": {"concurrency": 512},
            "verification": {"verifiers": ["logprob"], "batches": 32},
        }


def write_questions(folder: Path, number: int) -> Path:
    """A text file of different questions about the demo's documents."""
    names = [topic.rstrip("?") for topic in demo.QUESTIONS]
    lines = (f"{names[n % len(names)]}, asked {n} times?" for n in range(number))
    file = folder / "questions.txt"
    file.write_text("\n".join(lines))
    return file


def serve(ready: Connection, answers: "Synchronized[int]", verdicts: "Synchronized[int]") -> None:
    """Listen, say at which port, and answer until the process ends."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                _, _, rest = head.partition(b"content-length: ")
                body = await reader.readexactly(int(rest.split(b"\r\n")[0])) if rest else b""
                asked = json.loads(body) if body else None
                if asked:
                    count = verdicts if asked.get("logprobs") else answers
                    count.value += 1
                await asyncio.sleep(LATENCY_S)
                reply = json.dumps(_reply(asked) if asked else {"data": []}).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                    + f"content-length: {len(reply)}\r\n\r\n".encode()
                    + reply
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    asyncio.run(_serve(ready, connection))


async def _serve(ready: Connection, connection: Any) -> None:
    server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=1024)
    ready.send(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


def _reply(asked: dict[str, object]) -> dict[str, object]:
    seed = int(str(asked.get("seed", 0)))
    choice: dict[str, object] = {"index": 0, "finish_reason": "stop"}
    if asked.get("logprobs"):
        share = 0.2 + 0.75 * (zlib.crc32(str(asked["messages"]).encode()) % 997) / 997
        likely = [
            {"token": "1", "logprob": math.log(share)},
            {"token": "0", "logprob": math.log(1 - share)},
        ]
        choice["logprobs"] = {"content": [likely[0] | {"top_logprobs": likely}]}
        text = "1"
    else:
        text = f"It is a library that does {seed % 1000} things for those who build services."
    choice["message"] = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 900, "completion_tokens": 20, "total_tokens": 920}
    head = {"id": "x", "object": "chat.completion", "model": "stand-in"}
    return {**head, "choices": [choice], "usage": usage}
