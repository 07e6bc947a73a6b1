"""What TRL makes of exports, and the training itself, without Ray around it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from rlvr_ray.core.errors import ConfigError, InputError
from rlvr_ray.training import trl
from rlvr_ray.training.dpo import Plan
from tests.train.conftest import PLACES, Exports

PROMPTS = [[{"role": "user", "content": "Name a colour."}]]
STYLES = ("question", "rag-messages")


def train(plan: Plan, folder: Path, out: Path, told: list[Any] | None = None) -> dict[str, Any]:
    files = {split: folder / f"{split}.jsonl" for split in ("train", "eval")}
    return trl.train(plan, files, PROMPTS, out, (told if told is not None else []).append)


def plan(model: Path, **changes: Any) -> Plan:
    given = {"max_steps": 3, "batch": 2, "learning_rate": 1e-2, "answer_tokens": 8}
    return Plan(model=str(model), **(given | changes))


def test_the_same_seed_makes_the_same_model(exports: Exports, tiny: Path, tmp_path: Path) -> None:
    folder = exports("--eval", "0.3")
    told: list[Any] = []
    results = [
        train(plan(tiny, seed=seed), folder, tmp_path / f"{number}", told)
        for number, seed in enumerate((1, 1, 2))
    ]
    for result in results:
        del result["training"]["seconds"]
    assert results[0] == results[1]
    weights = [(tmp_path / f"{n}" / "adapter_model.safetensors").read_bytes() for n in range(3)]
    assert weights[0] == weights[1] != weights[2]
    assert [step["step"] for step in told] == [1, 2, 3] * 3


def test_rows_that_are_too_long_are_counted(exports: Exports, tiny: Path, tmp_path: Path) -> None:
    folder = exports("--prompt", "rag-messages", "--eval", "0.3")
    found = train(plan(tiny, max_length=1000), folder, tmp_path)["splits"]
    assert sum(split["dropped"] for split in found.values()) == 1
    lengths = [split["longest"] for split in found.values()]
    short = max(lengths) - 1
    found = train(plan(tiny, max_length=short), folder, tmp_path)["splits"]
    assert sum(split["cut"] for split in found.values()) >= 1
    with pytest.raises(InputError, match=r"no prompt of \w+ is shorter than --max-length 8"):
        train(plan(tiny, max_length=8), folder, tmp_path)


def test_a_loss_that_is_none_ends_it(exports: Exports, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no number any more at step \d: lower --learning-rate"):
        train(plan(tiny, learning_rate=1e30, max_steps=5), exports("--eval", "0.3"), tmp_path)


def test_a_model_without_a_chat_template(exports: Exports, tiny: Path, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="no chat template"):
        train(plan(tmp_path), exports("--eval", "0.3"), tmp_path / "out")


def test_a_damaged_gguf_file_is_said(exports: Exports, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF and nothing that follows")
    with pytest.raises(ConfigError, match=r"model\.gguf cannot be loaded: "):
        train(plan(file), exports("--eval", "0.3"), tmp_path / "out")


# Exports with a token limit, counted with the tokenizer of a real model: SmolLM2's.


@pytest.fixture(scope="module")
def small(gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2's tokenizer and chat template, around weights that say nothing."""
    folder = tmp_path_factory.mktemp("small")
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=8192,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def read(folder: Path, split: str = "train") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]


def lengths(rows: Any, *columns: Sequence[str]) -> list[int]:
    return [max(sum(len(row[name]) for name in names) for names in columns) for row in rows]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("format_", ["trl", "openrlhf"])
def test_dpo_keeps_every_row_whole(
    exports: Exports, small: Path, tmp_path: Path, format_: str, style: str
) -> None:
    """With TRL's own limit, since the export leaves out what is longer."""
    limit = DPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False).max_length
    options = ["--prompt", style, "--max-tokens", str(limit)]
    folder = exports(
        *options, "--tokenizer", str(small / "tokenizer.json"), "--eval", "0.3", format_=format_
    )
    pairs = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert len(pairs["train"]) + len(pairs["eval"]) == len(PLACES) - (style == "rag-messages")
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(small),
        args=DPOConfig(
            output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", max_steps=1
        ),
        train_dataset=pairs["train"],
        eval_dataset=pairs["eval"],
        processing_class=AutoTokenizer.from_pretrained(small),
    )
    for split, taken in (("train", trainer.train_dataset), ("eval", trainer.eval_dataset)):
        assert len(taken) == len(pairs[split]) == len(read(folder, split))
        longest = lengths(taken, ("prompt_ids", "chosen_ids"), ("prompt_ids", "rejected_ids"))
        assert max(longest) <= limit
    row, (first, *_) = trainer.train_dataset[0], read(folder)
    decode = trainer.processing_class.decode
    for side in ("chosen", "rejected"):
        assert decode(row[f"{side}_ids"]).startswith(first[side][0]["content"])
    assert first["prompt"][-1]["content"] in decode(row["prompt_ids"])
    trainer.train()


@pytest.mark.parametrize("style", STYLES)
def test_sft_keeps_every_row_whole(
    exports: Exports, small: Path, tmp_path: Path, style: str
) -> None:
    limit = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False).max_length
    options = ["--prompt", style, "--max-tokens", str(limit)]
    folder = exports(
        *options, "--tokenizer", str(small / "tokenizer.json"), "--eval", "0.3", format_="sft"
    )
    answers = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(small),
        args=SFTConfig(
            output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", max_steps=1
        ),
        train_dataset=answers["train"],
        eval_dataset=answers["eval"],
        processing_class=AutoTokenizer.from_pretrained(small),
    )
    for split, taken in (("train", trainer.train_dataset), ("eval", trainer.eval_dataset)):
        assert len(taken) == len(answers[split]) == len(read(folder, split)) > 0
        assert max(lengths(taken, ("input_ids",))) < limit, "one that is as long may have been cut"
    row, (first, *_) = trainer.train_dataset[0], read(folder)
    text = trainer.processing_class.decode(row["input_ids"])
    assert all(message["content"] in text for message in first["messages"])
    trainer.train()
