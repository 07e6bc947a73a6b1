"""DPO with TRL and peft in one worker: from the model to the checkpoint.

It runs in every worker of a Ray Train group. With several workers, Ray Train has set up
``torch.distributed``, which Transformers' Trainer detects.
"""

import contextlib
import hashlib
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr_ray.core.errors import ConfigError, InputError
from rlvr_ray.training.dpo import FIGURES, STEP_FIGURES, TEMPLATE, Messages, Plan, figures

#: Prompts that are answered at once.
ANSWERS = 8
#: Steps that are reported, at most: one for each hundredth of a training.
REPORTS = 100
_WEIGHTS = ("*.safetensors", "*.bin", "config.json", "tokenizer.json")


def train(
    plan: Plan,
    files: Mapping[str, Path],
    prompts: Sequence[Messages],
    out: Path,
    notify: Callable[[Mapping[str, Any]], None],
) -> dict[str, Any]:
    """Train on ``files["train"]``, measure on ``files["eval"]``, write the checkpoint to ``out``.

    Answers ``prompts`` before and after. ``notify`` is given steps while they are made. All workers
    get the same figures; only the first one writes and notifies. Raises ConfigError where the
    model cannot be loaded or memory does not suffice, InputError where nothing can be learned.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import datasets
    import torch
    import transformers

    transformers.logging.disable_progress_bar()
    transformers.set_seed(plan.seed)
    with tempfile.TemporaryDirectory(prefix="rlvr-train-") as scratch, _reasons(torch):
        datasets.disable_progress_bars()
        model = plan.model
        if model.endswith(".gguf"):
            model = str(unpack_gguf(Path(model), Path(scratch, "model")))
        tokenizer = load_tokenizer(model)
        rows = {name: _rows(file, scratch) for name, file in files.items()}
        trainer = _trainer(plan, model, tokenizer, rows, scratch, notify)
        splits = {name: _lengths(plan, rows[name], trainer, name) for name in files}
        parameters = list(trainer.model.parameters())
        counts = {
            "parameters": sum(p.numel() for p in parameters),
            "trained_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        }
        before = figures(trainer.evaluate(), FIGURES)
        answers = {"before": _answers(trainer, tokenizer, prompts, plan)}
        started = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - started
        after = figures(trainer.evaluate(), FIGURES)
        if "loss" not in after:
            raise _astray(trainer.state.global_step)
        answers["after"] = _answers(trainer, tokenizer, prompts, plan)
        dtype = str(parameters[0].dtype).removeprefix("torch.")
        _save(plan, trainer, tokenizer, out)
    return {
        "model": {"name": plan.model, "sha256": model_hash(plan.model), "dtype": dtype, **counts},
        "splits": splits,
        "training": {
            "steps": trainer.state.global_step,
            "pairs_per_step": trainer.args.train_batch_size
            * trainer.args.gradient_accumulation_steps
            * trainer.args.world_size,
            "seconds": seconds,
            "workers": trainer.args.world_size,
            "device": _device(torch),
            "precision": "bf16" if trainer.args.bf16 else "fp16" if trainer.args.fp16 else "fp32",
            "history": [
                figures(entry, STEP_FIGURES)
                for entry in trainer.state.log_history
                if "loss" in entry
            ],
        },
        "eval": {"before": before, "after": after},
        "answers": answers,
    }


def unpack_gguf(file: Path, folder: Path) -> Path:
    """A GGUF file's model with whole weights, as a folder; its quantised ones cannot be trained."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with _loading(str(file)):
        AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
        AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
        ).save_pretrained(folder)
    return folder


def load_tokenizer(name: str) -> Any:
    """A model's tokenizer; raises ConfigError where it has no chat template."""
    from transformers import AutoTokenizer

    with _loading(name):
        tokenizer = AutoTokenizer.from_pretrained(name)
    if not tokenizer.chat_template:
        raise ConfigError(f"--model: {name} has no chat template: take an instruction-tuned model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # masked, wherever it stands
    return tokenizer


def load_model(name: str, dtype: Any) -> Any:
    """A language model from a folder or the hub, on the CPU."""
    from transformers import AutoModelForCausalLM

    with _loading(name):
        return AutoModelForCausalLM.from_pretrained(name, dtype=dtype)


def model_hash(name: str) -> str:
    """SHA-256 over a model's files, names included; empty for one that is not on this disk."""
    path = Path(name)
    files = [path] if path.is_file() else sorted(f for w in _WEIGHTS for f in path.glob(w))
    if not files:
        return ""
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            part = hashlib.file_digest(stream, "sha256").hexdigest()
        whole.update(f"{file.name} {part}\n".encode())
    return whole.hexdigest()


@contextlib.contextmanager
def _loading(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise ConfigError(f"--model: {name} cannot be loaded: {_first_line(error)}") from None


@contextlib.contextmanager
def _reasons(torch: Any) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"the GPU's memory does not suffice ({_first_line(error)}): lower --device-batch or "
            "--max-length, or leave out --full"
        ) from None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _astray(step: int) -> InputError:
    return InputError(f"the loss is no number any more at step {step}: lower --learning-rate")


def _device(torch: Any) -> str:
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "CPU"


def _rows(file: Path, scratch: str) -> Any:
    """The file's rows, with what the chat template is given."""
    from datasets import load_dataset

    kind = "parquet" if file.suffix == ".parquet" else "json"
    found = load_dataset(kind, data_files=str(file), split="train", cache_dir=scratch)
    kept = ["prompt", "chosen", "rejected"]
    return found.select_columns(kept).add_column("chat_template_kwargs", [TEMPLATE] * len(found))


def _trainer(
    plan: Plan,
    model: str,
    tokenizer: Any,
    rows: Mapping[str, Any],
    scratch: str,
    notify: Callable[[Mapping[str, Any]], None],
) -> Any:
    import torch
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    class StepReporter(TrainerCallback):  # type: ignore[misc]
        """Passes on what a step measured, and ends a training that has gone astray."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" not in (logs or {}):
                return
            if not math.isfinite(logs["loss"]):
                raise _astray(state.global_step)
            if state.is_world_process_zero:
                found = figures({"step": state.global_step, **logs}, STEP_FIGURES)
                notify({**found, "steps": state.max_steps})

    gpu = torch.cuda.is_available()
    half = torch.bfloat16 if gpu and torch.cuda.is_bf16_supported() else torch.float16
    # All weights stay in 32 bits: steps of 5e-6 would vanish in bf16, which has 8 bits. Frozen
    # ones take no steps, and adapters are in 32 bits by themselves.
    dtype = half if gpu and not plan.full else torch.float32
    workers = int(os.environ.get("WORLD_SIZE", "1"))
    config = DPOConfig(
        output_dir=scratch,
        per_device_train_batch_size=plan.device_batch,
        per_device_eval_batch_size=plan.device_batch,
        gradient_accumulation_steps=plan.accumulation(workers),
        num_train_epochs=plan.epochs,
        max_steps=plan.max_steps or -1,
        learning_rate=plan.rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        beta=plan.beta,
        max_length=plan.max_length,
        bf16=gpu and half == torch.bfloat16,
        fp16=gpu and half == torch.float16,
        use_cpu=not gpu,
        # Half as fast again, and a fraction of the memory: worth it where memory is a GPU's.
        gradient_checkpointing=gpu,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        ddp_find_unused_parameters=False,
        logging_steps=1 / REPORTS,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=plan.seed,
        data_seed=plan.seed,
    )
    lora = LoraConfig(
        r=plan.rank,
        lora_alpha=2 * plan.rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return DPOTrainer(
        model=load_model(model, dtype),
        # An adapter that is switched off leaves the first model, so only --full needs a second.
        ref_model=load_model(model, half if gpu else dtype) if plan.full else None,
        args=config,
        train_dataset=rows["train"],
        eval_dataset=rows["eval"],
        processing_class=tokenizer,
        peft_config=None if plan.full else lora,
        callbacks=[StepReporter()],
    )


def _lengths(plan: Plan, rows: Any, trainer: Any, name: str) -> dict[str, int]:
    """How many rows TRL left out, and how many it will cut, since they are too long."""
    kept = trainer.train_dataset if name == "train" else trainer.eval_dataset
    if not len(kept):
        raise InputError(
            f"no prompt of {name} is shorter than --max-length {plan.max_length:,}: raise it"
        )
    lengths = [
        len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))
        for row in kept
    ]
    return {
        "rows": len(rows),
        "dropped": len(rows) - len(kept),
        "cut": sum(length > plan.max_length for length in lengths),
        "longest": max(lengths),
    }


def _answers(trainer: Any, tokenizer: Any, prompts: Sequence[Messages], plan: Plan) -> list[str]:
    """An answer to each prompt, the likeliest token each time; workers share the prompts."""
    import torch
    from accelerate.utils import gather_object
    from transformers import GenerationConfig

    model = trainer.accelerator.unwrap_model(trainer.model)
    rank, workers = trainer.args.process_index, trainer.args.world_size
    generation = GenerationConfig(
        do_sample=False,
        max_new_tokens=plan.answer_tokens,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=model.generation_config.eos_token_id or tokenizer.eos_token_id,
        use_cache=True,
    )
    mine = list(enumerate(prompts))[rank::workers]
    found: list[tuple[int, str]] = []
    model.eval()
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    try:
        for at in range(0, len(mine), ANSWERS):
            part = mine[at : at + ANSWERS]
            inputs = tokenizer.apply_chat_template(
                [prompt for _, prompt in part],
                add_generation_prompt=True,
                padding=True,
                return_tensors="pt",
                return_dict=True,
                **TEMPLATE,
            ).to(trainer.accelerator.device)
            with torch.no_grad(), trainer.accelerator.autocast():
                output = model.generate(**inputs, generation_config=generation)
            texts = tokenizer.batch_decode(
                output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
            )
            found += [(number, text.strip()) for (number, _), text in zip(part, texts, strict=True)]
    finally:
        tokenizer.padding_side = side
    return [text for _, text in sorted(gather_object(found))]


def _save(plan: Plan, trainer: Any, tokenizer: Any, out: Path) -> None:
    """Adapter or weights, with the tokenizer; merged weights in a folder below."""
    if plan.full and trainer.args.bf16:
        # What engines expect, and half the size.
        import torch

        trainer.model.to(torch.bfloat16)
    if not plan.full:  # a GGUF file was unpacked elsewhere
        trainer.model.peft_config["default"].base_model_name_or_path = plan.model
    trainer.save_model(str(out))
    if not trainer.is_world_process_zero():
        return
    # A pickle, with this machine's paths; the report says more.
    (out / "training_args.bin").unlink(missing_ok=True)
    if plan.merge and not plan.full:
        model = trainer.accelerator.unwrap_model(trainer.model)
        model.merge_and_unload().save_pretrained(str(out / "merged"))
        tokenizer.save_pretrained(str(out / "merged"))
    for left in out.glob("checkpoint-*"):
        shutil.rmtree(left)
