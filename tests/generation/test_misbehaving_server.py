"""A whole run against a server that misbehaves: what it writes into the files, and why not."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rlvr_ray.bulk import run as bulk
from rlvr_ray.bulk.run import Bulk, Plan
from rlvr_ray.bulk.statistics import RunStatistics
from rlvr_ray.core.answer_text import answer_in, control_tokens
from rlvr_ray.core.errors import ReplyError
from rlvr_ray.core.questions import Question
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.generation.engines.openai import OpenAIChat
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.pipeline.ask import Pipeline
from rlvr_ray.settings import GeneratorSettings, Settings, VerificationSettings, VerifierSettings
from rlvr_ray.verification import factory
from tests.builders import context
from tests.embedder import minilm
from tests.fakes import FakeRetriever
from tests.openai_server import OpenAIServer, Reply, Request, completion

pytestmark = pytest.mark.integration


PASSAGE = (
    "The tower is 330 metres tall, about the same height as an 81-storey building. "
    "Its base is square, measuring 125 metres on each side."
)
RIGHT, WRONG = "The tower is 330 metres tall.", "The tower is 500 metres tall."

#: What makes a pair all the same: the answer is in it.
HEARD: Mapping[str, Mapping[str, Any]] = {
    "plain": {"content": RIGHT},
    "think": {"content": f"<think>Is it 125?\n</think>\n\n{RIGHT}"},
    "think without an opening": {"content": f"Is it 125?</think>{RIGHT}"},
    "thinking": {"content": f"<thinking>Is it 125?</thinking>{RIGHT}"},
    "reasoning": {"content": f"<reasoning>Is it 125?</reasoning>{RIGHT}"},
    "harmony": {
        "content": "<|channel|>analysis<|message|>Is it 125?<|end|><|start|>assistant"
        f"<|channel|>final<|message|>{RIGHT}<|return|>"
    },
    "reasoning_content": {"message": {"content": RIGHT, "reasoning_content": "Is it 125?"}},
    "parts": {
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Is it 125?"}]},
            {"type": "text", "text": RIGHT},
        ]
    },
    "s": {"content": f"{RIGHT}</s>"},
    "im_end": {"content": f"{RIGHT}<|im_end|>\n<|im_start|>user\nIs it 125?<|im_end|>"},
    "eot_id": {"content": f"{RIGHT}<|eot_id|>"},
    "next turn": {
        "content": f"{RIGHT}\n\nUser: How wide?\nAssistant: 125",
        "finish_reason": "length",
    },
    "null reason": {"content": RIGHT, "finish_reason": None},
}
#: What has no score, and why.
UNHEARD: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "unclosed": ({"content": f"<think>{RIGHT}"}, "29 characters of reasoning and no answer"),
    "nothing but reasoning": (
        {"message": {"content": None, "reasoning_content": RIGHT}},
        "29 characters of reasoning and no answer",
    ),
    "empty": ({"content": ""}, "the answer is empty"),
    "null": ({"content": None}, "the answer is empty"),
    "nothing but tokens": ({"content": "<|im_end|>"}, "the answer is empty"),
    "odd reason": ({"content": RIGHT, "finish_reason": "moonshine"}, "no known finish reason"),
    "null reason, no usage": (
        {"content": RIGHT, "finish_reason": None, "usage": None},
        "no known finish reason",
    ),
    "a token that is named": ({"content": f"`<|im_end|>`: {RIGHT}"}, "as a control token"),
}
#: What makes no pair, though it has a score.
CUT: Mapping[str, Mapping[str, Any]] = {
    "cut off": {"content": f"{RIGHT} It is about the", "finish_reason": "length"},
    "cut off at the end of a sentence": {"content": RIGHT, "finish_reason": "MAX_TOKENS"},
}


def says(message: Mapping[str, Any]) -> Reply:
    return Reply(body=completion(**message))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "POLL_S", 0.02)


class System:
    """A run's parts, the real ones but for what searches."""

    def __init__(self, folder: Path, server: OpenAIServer) -> None:
        settings = Settings(
            data_dir=folder,
            verification=VerificationSettings(verifiers=(VerifierSettings(name="grounded"),)),
        )
        self.folder, self.server = folder, server
        self.engine = OpenAIChat(
            GeneratorSettings(engine="openai", base_url=server.url, model="m", retries=0)
        )
        panel = factory.build_panel(settings, None, minilm())
        self.aggregator = Aggregator(Ledger(folder), Dataset(folder), panel, settings)
        retriever = FakeRetriever([context(PASSAGE, 0.8)])
        self.pipeline = Pipeline(retriever, self.engine, self.aggregator, 64)

    async def run(self, names: Iterable[str]) -> RunStatistics:
        """Ask how tall the tower is, once for each name."""
        questions = [
            Question(text=f"How tall is the tower? ({name})", source="q", line=line)
            for line, name in enumerate(names, 1)
        ]
        plan = Plan(
            run="r", num_candidates=2, temperatures=(0.3, 0.9), top_k=1, max_tokens=64, at_once=4
        )
        await self.aggregator.start()
        try:
            return await Bulk(self.pipeline, self.aggregator, plan).run(questions)
        finally:
            await self.aggregator.close()
            await self.engine.close()

    def rows(self, dataset: str) -> list[dict[str, Any]]:
        files = sorted((self.folder / dataset).glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def asked(request: Request) -> str:
    """The name in the question."""
    text: str = request.body["messages"][-1]["content"]
    return text.rpartition("(")[2].rpartition(")")[0]


async def test_no_wrong_text_is_in_any_row_and_every_reason_is_clear(
    tmp_path: Path, quick: None
) -> None:
    replies = {**HEARD, **{name: reply for name, (reply, _) in UNHEARD.items()}, **CUT}

    def script(request: Request) -> Reply:
        first = request.body["temperature"] == 0.3
        return says(replies[asked(request)]) if first else says({"content": WRONG})

    async with OpenAIServer() as server:
        server.script = script
        system = System(tmp_path, server)
        stats = await system.run(replies)
    assert (stats.state, stats.asked) == ("finished", len(replies))

    pairs = {row["prompt"]: row for row in system.rows("dpo_data")}
    assert {name for name in replies if f"How tall is the tower? ({name})" in pairs} == set(HEARD)
    for row in pairs.values():
        assert (row["chosen"], row["rejected"]) == (RIGHT, WRONG)

    answers = {
        row["question"]: row
        for row in system.rows("training_data")
        if row["metadata"]["candidate_index"] == 0
    }
    for name, (_, reason) in UNHEARD.items():
        told = answers[f"How tall is the tower? ({name})"]["verification"]
        assert told["status"] == "failed" and reason in told["reason"], name
    for name in CUT:
        told = answers[f"How tall is the tower? ({name})"]
        assert told["metadata"]["finish_reason"] == "length"
        assert told["verification"]["defect"] == "cut_off"
    for question, row in answers.items():
        assert answer_in(row["answer"]).text == row["answer"], question
        assert not control_tokens(row["answer"]) or "named" in question
        assert "125" not in row["answer"], question
    thought = answers["How tall is the tower? (think)"]["metadata"]
    assert thought["reasoning_chars"] == len("Is it 125?")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(body={"error": {"message": "model not found"}}), "an error: model not found"),
        (Reply(body={"error": "no credits left"}), "an error: no credits left"),
        (Reply(body="<html>Welcome</html>"), "no chat completion"),
        (Reply(body={"choices": []}), "no chat completion"),
        (Reply(body=completion(message=None)), "no chat completion"),
        (Reply(body=b"{"), "no chat completion"),
    ],
)
async def test_what_is_no_answer_ends_the_run_with_one_clear_error(
    tmp_path: Path, quick: None, reply: Reply, said: str
) -> None:
    async with OpenAIServer() as server:
        server.script = lambda _: reply
        system = System(tmp_path, server)
        with pytest.raises(ReplyError, match=said):
            await system.run(["a", "b", "c"])
    assert system.rows("training_data") == []


async def test_a_server_that_drops_a_part_of_the_prompt_is_told_of_each_question(
    tmp_path: Path, quick: None
) -> None:
    async with OpenAIServer() as server:
        server.script = lambda _: Reply(body=completion(RIGHT, usage={"prompt_tokens": 256}))
        system = System(tmp_path, server)
        system.pipeline = Pipeline(
            FakeRetriever([context(PASSAGE * 40, 0.8)]), system.engine, system.aggregator, 64
        )
        stats = await system.run(["a", "b"])
    assert stats.failures == {"ContextOverflow": 2}
    assert "read 256 tokens of a prompt of" in stats.examples["ContextOverflow"][0]
