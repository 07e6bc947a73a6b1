"""llama.cpp in this process: the engine where there is no GPU.

``engine`` is the Engine, ``server`` llama.cpp's own server inside this process and what is asked of
it, ``slots`` who may use which of its slots, ``gguf`` what a model's file tells of its size.
"""

from rlvr_ray.generation.engines.llamacpp.engine import LlamaCpp, check_files, model, parameters

__all__ = ["LlamaCpp", "check_files", "model", "parameters"]
