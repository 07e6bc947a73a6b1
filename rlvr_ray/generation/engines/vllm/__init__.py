"""vLLM in this process: the engine for GPUs.

``engine`` is the Engine, ``startup`` what it needs and how it starts.
"""

from rlvr_ray.generation.engines.vllm.engine import TEMPLATE, VLLM
from rlvr_ray.generation.engines.vllm.startup import MISSING, check_files, is_installed, model

__all__ = ["MISSING", "TEMPLATE", "VLLM", "check_files", "is_installed", "model"]
