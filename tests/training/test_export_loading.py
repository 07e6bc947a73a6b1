"""The `datasets` library reads an exported folder as it lies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlvr_ray.training.export.formats import Format
from tests.builders import context
from tests.exports import ANSWER_FORMATS, PAIR_FORMATS, export, refused, rlvr, rows, split_files
from tests.folders import MIXED, Folder, decided

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Odd texts among them, and documents enough for a split."""
    folder = tmp_path_factory.mktemp("made")
    alone = (
        decided(
            number,
            contexts=(context(f"About {number}.", document_id=f"{number}", source=f"{number}.md"),),
        )
        for number in range(100, 120)
    )
    Folder(folder).run([*MIXED, *alone])
    return folder


@pytest.fixture
def quiet() -> Iterator[None]:
    """No progress bars; they start threads."""
    import datasets

    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def loaded(folder: Path, cache: Path) -> dict[str, Any]:
    import datasets

    found: dict[str, Any] = datasets.load_dataset(str(folder), cache_dir=str(cache))
    return found


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", [*PAIR_FORMATS, *ANSWER_FORMATS])
def test_splits_and_rows_are_those_that_were_written(
    made: Path, tmp_path: Path, name: Format, kind: str
) -> None:
    out = tmp_path / "out"
    options = (f"--{kind}", "--eval", 0.3, "--prompt", "rag-messages", "--license", "cc-by-4.0")
    report = export(made, out, *options, "--language", "en", format_=name)
    found = loaded(out, tmp_path / "cache")
    files = split_files(out)
    assert list(found) == ["train", "eval"]
    for split, dataset in found.items():
        assert dataset.to_list() == rows(files[split])
        assert dataset.num_rows == report["splits"][split]["rows"] > 0


@pytest.mark.usefixtures("quiet")
def test_a_folder_without_eval_has_one_split(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "out", "--eval", 0)
    assert list(loaded(tmp_path / "out", tmp_path / "cache")) == ["train"]


def test_the_card_is_one_that_the_hub_understands(made: Path, tmp_path: Path) -> None:
    from huggingface_hub import DatasetCard

    options = ("--license", "cc-by-4.0", "--language", "en", "--language", "pt-BR")
    export(made, tmp_path / "out", *options)
    data = DatasetCard.load(tmp_path / "out" / "README.md").data
    assert data.license == "cc-by-4.0"
    assert data.language == ["en", "pt-BR"]
    assert data.size_categories == ["n<1K"]
    assert data.task_categories == ["text-generation"]
    assert data.tags == ["rlvr-ray", "trl", "dpo"]


def test_a_language_that_is_none(made: Path, tmp_path: Path) -> None:
    refused(rlvr(made, tmp_path / "out", "--language", "en, de"), "--language en, de", "such as en")
