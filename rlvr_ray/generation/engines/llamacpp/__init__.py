"""llama.cpp in this process: the engine without a GPU.

``engine`` is the Engine, ``server`` runs llama.cpp's server inside this process and calls it,
``slots`` lends the server's slots to requests, ``files`` and ``gguf`` check and measure a model's
file.
"""

from rlvr_ray.generation.engines.llamacpp.engine import LlamaCpp
from rlvr_ray.generation.engines.llamacpp.files import check_files, model, parameters

__all__ = ["LlamaCpp", "check_files", "model", "parameters"]
