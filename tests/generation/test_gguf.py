"""How many parameters a GGUF file's model has."""

import struct
from pathlib import Path

import pytest

from rlvr_ray.generation.engines.llamacpp import gguf
from rlvr_ray.generation.model_files import SMOLLM2_135M
from tests.gguf import write


def test_the_elements_of_all_tensors(tmp_path: Path) -> None:
    path = write(tmp_path / "some.gguf", (32_000, 3_072), (3_072,), (7, 5, 3, 2))
    assert gguf.parameters(path) == 32_000 * 3_072 + 3_072 + 210


def test_a_real_file() -> None:
    assert gguf.parameters(SMOLLM2_135M.locate()) == 134_515_008


def test_a_model_in_several_files(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"a[1]-{part:05}-of-00002.gguf", (1_000, 1_000, part)) for part in (1, 2)
    ]
    write(tmp_path / "b-00001-of-00002.gguf", (9, 9))
    assert {gguf.parameters(path) for path in paths} == {3_000_000}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GG",
        b"no model at all, but long enough for a head",
        struct.pack("<4sIQQ", b"GGUF", 3, 2**63, 2**63),
        struct.pack("<4sIQQQ", b"GGUF", 3, 1, 1, 2**64 - 1),
        struct.pack("<4sIQQQ2I", b"GGUF", 3, 0, 1, 0, 99, 0),
        struct.pack("<4sIQQQI", b"GGUF", 3, 1, 0, 0, 2**32 - 1),
    ],
)
def test_what_is_no_model_has_no_size(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.gguf"
    path.write_bytes(content)
    assert gguf.parameters(path) is None


def test_a_file_that_is_not_here_has_no_size(tmp_path: Path) -> None:
    assert gguf.parameters(tmp_path / "none.gguf") is None
    assert gguf.parameters(tmp_path / "none-00001-of-00002.gguf") is None


def test_an_older_or_a_foreign_format_is_not_read(tmp_path: Path) -> None:
    assert gguf.parameters(write(tmp_path / "old.gguf", (9,), version=1)) is None
    assert gguf.parameters(write(tmp_path / "other.gguf", (9,), magic=b"GGML")) is None
