"""Train a model on exported pairs with DPO, and measure what that changed.

    python jobs/train_dpo.py my-pairs --model meta-llama/Llama-3.2-3B-Instruct --out trained

Runs as a driver on a node of a Ray cluster, with one worker for each free GPU, or one on the CPU;
without a cluster it starts one here. Export, model and output must be where all nodes see them.
With ``--verify`` the verifiers of the running application score answers to held-out questions.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import ray

from rlvr_ray.bulk.question_files import read_questions
from rlvr_ray.core.errors import ConfigError, InputError, RlvrError, Unavailable
from rlvr_ray.serve import app, handles
from rlvr_ray.settings import load
from rlvr_ray.training import evaluation, inputs
from rlvr_ray.training import report as training_report
from rlvr_ray.training.dpo import Messages, Plan

#: Seconds between two checks for new steps.
LOOK_S = 1.0


def main() -> int:
    """The command; returns its exit code: 0 done, 1 failed, 130 stopped."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.score_only:
            _score(options.out, training_report.read_report(options.out), _application())
        else:
            _train(options)
    except RlvrError as error:
        print(f"train_dpo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train_dpo: stopped; nothing was kept of this training", file=sys.stderr)
        return 130
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("export", type=Path, nargs="?", help="of rlvr export --format trl")
    parser.add_argument("--model", help="a folder, a name on the model hub, or a GGUF file")
    parser.add_argument("--out", type=Path, required=True, help="a new or an empty folder")
    parser.add_argument("--full", action="store_true", help="all weights instead of LoRA")
    parser.add_argument("--merge", action="store_true", help="LoRA: also write whole weights")
    default = {field.name: field.default for field in fields(Plan)}
    for name, kind, help_ in (
        ("epochs", _positive(float), "passes over all pairs"),
        ("max_steps", _positive(int), "steps, whatever --epochs says"),
        ("batch", _positive(int), "pairs a step"),
        ("device_batch", _positive(int), "pairs that one worker holds at once"),
        ("learning_rate", _positive(float), "5e-5, with --full 5e-6"),
        ("beta", _positive(float), "weight of staying close to the first model"),
        ("rank", _positive(int), "of LoRA's matrices"),
        ("max_length", _positive(int), "tokens of prompt and answer; as exported"),
        ("answer_tokens", _positive(int), "limit of an answer to a held-out question"),
        ("seed", int, "of everything"),
    ):
        shown = "" if default[name] is None else f" (default: {default[name]})"
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, default=default[name], help=help_ + shown
        )
    parser.add_argument("--workers", type=_positive(int), help="default: one for each free GPU")
    parser.add_argument("--questions", help="held-out ones, a file; default: prompts of eval")
    parser.add_argument("--held-out", type=_positive(int), default=32, help="how many of them")
    parser.add_argument(
        "--verify", action="store_true", help="score answers with the running application"
    )
    parser.add_argument(
        "--score-only", action="store_true", help="only that, for what --out holds already"
    )
    options = parser.parse_args()
    if not options.score_only and not (options.export and options.model):
        parser.error("a folder of pairs and --model are needed")
    return options


def _positive(kind: type) -> Any:
    def read(text: str) -> Any:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    read.__name__ = f"positive {kind.__name__}"
    return read


def _train(options: argparse.Namespace) -> None:
    inputs.check_installed()
    inputs.check_model(options.model)
    export = inputs.read_export(options.export)
    out = options.out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{options.out} is not empty; name a new folder, or empty this one")
    names = [field.name for field in fields(Plan)]
    plan = Plan(**{name: getattr(options, name) for name in names})
    application = None
    if options.verify:
        application = _application()
    else:
        _join()
    if options.questions:
        questions = read_questions([options.questions])
        held_out, refused = asyncio.run(
            evaluation.from_questions(questions, export.prompt, options.held_out, application)
        )
        for each in refused:
            print(f"left out: {each}", file=sys.stderr)
    else:
        held_out = evaluation.from_eval(export, options.held_out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            prompts = [each.prompt for each in held_out]
            result, checkpoint = _fit(plan, export, prompts, Path(scratch), options.workers)
            answers = result.pop("answers")
            report = {
                "model": result["model"],
                "data": {
                    "folder": str(export.folder),
                    "prompt": export.prompt,
                    "splits": {
                        name: {"file": file.path.name, "sha256": file.sha256, **figures}
                        for name, file in (("train", export.train), ("eval", export.eval))
                        for figures in (result["splits"][name],)
                    },
                },
                "settings": {**plan.plain(), "workers": options.workers},
                "versions": inputs.versions(),
                "training": result["training"],
                "eval": result["eval"],
                "answers": {
                    "source": options.questions or export.eval.path.name,
                    "questions": evaluation.asked(held_out, **answers),
                },
                "checkpoint": "checkpoint",  # beside the report
            }
            why = "--verify was not given" if application is None else "they are about to be"
            training_report.summarise(report, why)
            done = Path(scratch) / "done"
            done.mkdir()
            checkpoint.rename(done / "checkpoint")
            text = training_report.write(report, done)
            done.rename(out)  # an empty folder gives way
    except OSError as error:
        raise Unavailable(f"{options.out} cannot be written: {error.strerror}") from None
    print(f"trained: {out / 'checkpoint'}", flush=True)
    if application is None:
        print(text, end="")
    else:
        _score(out, report, application)


def _score(out: Path, report: dict[str, Any], application: evaluation.Application) -> None:
    """Add scores to a report; where that fails, the checkpoint and the report without them stay."""
    try:
        asyncio.run(evaluation.score(report, application))
    except RlvrError as error:
        training_report.summarise(report, str(error))
        training_report.write(report, out)
        raise Unavailable(
            f"trained, but the answers were not scored: {error} (later: --score-only --out {out})"
        ) from None
    print(training_report.write(report, out), end="")


def _application() -> evaluation.Application:
    settings, parts = app.attach(load(), deploy=False)
    return evaluation.Application(
        panel=handles.panel(),
        retriever=parts.retriever,
        recorder=parts.recorder,
        top_k=settings.retrieval.top_k,
        min_score_diff=settings.dpo.min_score_diff,
    )


def _join() -> None:
    """The cluster that is help_ or runs here, or one of our own."""
    address = load().ray_address
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ConfigError(f"no Ray cluster to join: {error}") from None


def _workers(wanted: int | None) -> tuple[int, dict[str, float]]:
    """How many workers there are, and what each of them needs."""
    there, free = ray.cluster_resources(), ray.available_resources()
    name = "GPU" if there.get("GPU", 0) >= 1 else "CPU"
    count = wanted or (max(1, int(free.get("GPU", 0))) if name == "GPU" else 1)
    if count > free.get(name, 0):
        raise ConfigError(
            f"{count} workers need as many {name}s, and of the cluster's {there.get(name, 0):g} "
            f"{free.get(name, 0):g} are free: end what holds them, or give --workers"
        )
    if name == "GPU":
        return count, {"GPU": 1.0, "CPU": 1.0}
    # Ray has a worker use as many threads as it gets CPUs.
    return count, {"CPU": float(max(1, min(int(free["CPU"]) // count, os.cpu_count() or 1)))}


def _fit(
    plan: Plan,
    export: inputs.Export,
    prompts: list[Messages],
    scratch: Path,
    workers: int | None,
) -> tuple[dict[str, Any], Path]:
    """Train on Ray Train; return its figures, and the checkpoint's folder."""
    from ray.train import RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    count, needs = _workers(workers)
    local = Path(plan.model).exists()
    steps = scratch / "steps.jsonl"
    config = {
        "plan": {**plan.plain(), "model": str(Path(plan.model).resolve()) if local else plan.model},
        "files": {"train": export.train.path.resolve(), "eval": export.eval.path.resolve()},
        "prompts": prompts,
        "steps": steps,
    }
    trainer = TorchTrainer(
        _worker,
        train_loop_config=config,
        scaling_config=ScalingConfig(
            num_workers=count, use_gpu="GPU" in needs, resources_per_worker=needs
        ),
        run_config=RunConfig(name="ray", storage_path=str(scratch)),
    )
    try:
        with _followed(steps):
            result = trainer.fit()
    except TrainingFailedError as error:
        raise _reason(error) from None
    except SystemExit:  # Ray's answer to Ctrl-C
        raise KeyboardInterrupt from None
    assert result.metrics and result.checkpoint, "the worker reports both"
    found: dict[str, Any] = json.loads(result.metrics["result"])
    return found, Path(result.checkpoint.path)


def _worker(config: dict[str, Any]) -> None:
    """Runs in each of Ray Train's workers."""
    from ray import train as ray_train

    from rlvr_ray.training import trl

    def notify(step: Any) -> None:
        with config["steps"].open("a") as stream:
            stream.write(json.dumps(step) + "\n")

    first = ray_train.get_context().get_world_rank() == 0
    with tempfile.TemporaryDirectory(prefix="rlvr-checkpoint-") as folder:
        plan = Plan(**config["plan"])
        result = trl.train(plan, config["files"], config["prompts"], Path(folder), notify)
        checkpoint = ray_train.Checkpoint.from_directory(folder) if first else None
        ray_train.report({"result": json.dumps(result)}, checkpoint=checkpoint)


def _reason(error: Exception) -> RlvrError:
    """What a worker raised on purpose, or the last line of what happened to it."""
    failures = list(getattr(error, "worker_failures", {}).values()) or [error]
    causes = [getattr(failure, "_base_exc", failure) for failure in failures]
    for cause in causes:
        if isinstance(cause, RlvrError):
            return cause
    lines = [line for line in str(failures[0]).splitlines() if line.strip()]
    last = lines[-1].strip() if lines else type(causes[0]).__name__
    return Unavailable(
        f"the training failed: {last}; more in Ray's logs: /tmp/ray/session_latest/logs/train"
    )


@contextmanager
def _followed(steps: Path) -> Iterator[None]:
    """Print steps as they are made; a worker, wherever it is, writes them to that file."""
    done = threading.Event()

    def follow() -> None:
        shown = 0
        while True:
            last = done.wait(LOOK_S)
            lines = steps.read_text().split("\n")[:-1] if steps.exists() else []
            for line in lines[shown:]:
                step = json.loads(line)
                print(
                    f"step {step['step']} of {step['steps']}: loss {step['loss']:.4f}, "
                    f"margin {step['reward_margin']:.4f}, accuracy {step['reward_accuracy']:.2f}",
                    flush=True,
                )
            shown = len(lines)
            if last:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
