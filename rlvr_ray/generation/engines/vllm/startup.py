"""Starting vLLM: requirements, options, and the reason of a failed start."""

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlvr_ray.core.errors import ConfigError
from rlvr_ray.generation.model_files import LLAMA_3B
from rlvr_ray.settings import EngineSettings

MISSING = "vllm is not installed: in the folder of rlvr_ray, pip install -e '.[vllm]'"
#: Share of a card's memory that vLLM takes where it has the card to itself.
GPU_MEMORY = 0.9
#: Bytes of the key-value cache without a GPU; ``vllm.kv_cache_memory_bytes`` says otherwise.
CPU_CACHE = 2 * 2**30
#: A line of a traceback that names an exception.
EXCEPTION = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception|Exit)\b.*)$", re.MULTILINE)
#: What says only that another process failed.
ELSEWHERE = re.compile(r"root cause|background process|failed core proc", re.IGNORECASE)


def is_installed() -> bool:
    """Whether vLLM can be had in this environment."""
    return find_spec("vllm") is not None


def model(settings: EngineSettings) -> str:
    """The model's name, as completions have it."""
    return settings.model or LLAMA_3B


def check_files(settings: EngineSettings) -> None:
    """Raise ConfigError where vLLM or a model's folder is missing; nothing is loaded."""
    if not is_installed():
        raise ConfigError(MISSING)
    name = model(settings)
    if name.startswith(("/", ".", "~")) and not Path(name, "config.json").is_file():
        raise ConfigError(
            f"{settings.section}.model: there is no model in {name}, which has no config.json"
        )


def options(settings: EngineSettings, model: str) -> dict[str, Any]:
    """vLLM's engine options: ours, then the user's over them."""
    gpus = settings.gpus
    options: dict[str, Any] = {
        "model": model,
        "max_model_len": settings.context_tokens,
        "tensor_parallel_size": max(1, int(gpus)),
        # Small models fill free whitespace until their tokens are used up.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
    }
    if gpus == 0:
        options |= {
            "enforce_eager": True,
            "block_size": 32,
            "kv_cache_memory_bytes": CPU_CACHE,
            # A prompt that is read in parts rewinds its seed, which dies without a GPU.
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": settings.context_tokens,
        }
    else:
        options["gpu_memory_utilization"] = GPU_MEMORY * min(1, gpus)
    return options | settings.vllm


def environment(settings: EngineSettings) -> dict[str, str]:
    """What vLLM and its processes read from the environment; who set it before is obeyed."""
    environment = {
        # A fork of a process with Ray's threads can hang.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    }
    if settings.gpus == 0:
        # Bound threads would share a core with whatever else is bound to it. Ray sets
        # OMP_NUM_THREADS to the CPUs that it set aside, so that variable says nothing.
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    return {name: value for name, value in environment.items() if name not in os.environ}


@contextlib.contextmanager
def reasons(model: str) -> Iterator[dict[str, str]]:
    """Environment for a start whose failure is to be told; raises ConfigError with the reason."""
    folder = Path(tempfile.mkdtemp(prefix="rlvr-vllm-"))
    errors = folder / "errors.log"
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": "line"},
            # Opened at once: later, when an engine dies, the folder is long gone.
            "errors": {"class": "logging.FileHandler", "filename": str(errors), "level": "ERROR"},
        },
        "loggers": {"vllm": {"handlers": ["console", "errors"], "level": "INFO"}},
    }
    (folder / "logging.json").write_text(json.dumps(config))
    name = "VLLM_LOGGING_CONFIG_PATH"
    theirs = name in os.environ
    try:
        yield {} if theirs else {name: str(folder / "logging.json")}
    except ImportError as error:
        raise ConfigError(f"vLLM cannot be imported: {line(error)}") from None
    except Exception as error:  # of torch, of the hub's client, of pydantic, ...
        text = errors.read_text(errors="replace") if errors.exists() else ""
        reason = _reason(text) or line(error).split(" [type=")[0]
        raise ConfigError(f"vLLM cannot load {model}: {reason}") from None
    finally:
        if not theirs:
            os.environ.pop(name, None)
        shutil.rmtree(folder, ignore_errors=True)


def _reason(log: str) -> str | None:
    """The last exception in a log that is not about another one."""
    found = [line for line in EXCEPTION.findall(log) if not ELSEWHERE.search(line)]
    return line(found[-1]) if found else None


def line(error: object) -> str:
    """An error in one line."""
    return " ".join(str(error).split())[:500]
