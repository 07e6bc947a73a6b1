"""Whether grounding sees that one number, name or negation of a sentence was changed.

The passages are descriptions of installed packages, so that it runs everywhere, and the contexts of
a labelled file where that is there.
"""

import importlib.metadata
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from rlvr_ray.verification.calibration.labelled import read
from rlvr_ray.verification.calibration.measures import pair_accuracy
from rlvr_ray.verification.grounding import Grounding, Similarity, assess
from tests.embedder import minilm
from tests.quality.measuring import path_of
from tests.quality.minimal_edits import KINDS, Edit, Kind, minimal_edits

#: Asks for whatever the sentence says.
QUESTION = "What does the passage say?"
PACKAGES = (
    "ray qdrant-client ragas aio-pika pyarrow fastapi pydantic httpx typer uvicorn starlette numpy "
    "datasets openai tqdm huggingface-hub tokenizers onnxruntime xllamacpp apsw pandas aiohttp "
    "requests tenacity jinja2 click rich anyio networkx nltk instructor tiktoken langchain-core "
    "langchain-community tornado scipy psutil hypothesis pytest protobuf msgpack "
    "grpcio scikit-learn"
)
PASSAGE = 1000
"""Characters of a passage made from paragraphs, about a retrieved chunk."""

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def write(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", end="")

    return write


@pytest.fixture(scope="module")
def similarity() -> Similarity:
    model = minilm()
    vectors: dict[str, Any] = {}

    def embed(texts: Sequence[str]) -> Any:
        unknown = [text for text in dict.fromkeys(texts) if text not in vectors]
        vectors.update(zip(unknown, model.embed(unknown), strict=True) if unknown else ())
        return np.stack([vectors[text] for text in texts])

    def cosines(rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
        matrix: list[list[float]] = (embed(rows) @ embed(columns).T).tolist()
        return matrix

    return cosines


def package_passages() -> list[str]:
    """Paragraphs of package descriptions, joined to passages; code and markup lines left out."""
    passages: list[str] = []
    for name in PACKAGES.split():
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        text = metadata.get("Description", "") or str(metadata.get_payload())  # type: ignore[attr-defined]
        text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("`", "").replace("*", "")
        passage = ""
        for paragraph in re.split(r"\n\s*\n", text):
            if len(passage) + len(paragraph) > PASSAGE and passage:
                passages.append(passage)
                passage = ""
            passage += f"{paragraph.strip()[:PASSAGE]}\n\n"
        passages.append(passage)
    return passages


def check_edits(edits: Sequence[Edit], similarity: Similarity, title: str, say: Say) -> None:
    """The original must be the better supported one, and only the copy may have a defect."""
    found = [
        (
            edit.kind,
            assess(QUESTION, edit.original, [edit.passage], similarity),
            assess(QUESTION, edit.corrupted, [edit.passage], similarity),
        )
        for edit in edits
    ]

    def figures(of: Sequence[tuple[Kind, Grounding, Grounding]]) -> tuple[float, float, float]:
        accuracy = pair_accuracy((good.faithfulness, bad.faithfulness) for _, good, bad in of)
        assert accuracy is not None, "there was nothing to measure"
        named = sum(bad.defect is not None for _, _, bad in of) / len(of)
        slandered = sum(good.defect is not None for _, good, _ in of) / len(of)
        return accuracy, named, slandered

    for kind in (*KINDS, None):
        of = [one for one in found if kind in (None, one[0])]
        accuracy, named, slandered = figures(of)
        say(
            f"minimal edits of {title}, {kind or 'all'}: {accuracy:.3f} of {len(of)} pairs in "
            f"order, a defect named for {named:.3f} of the copies and {slandered:.3f} of the "
            "originals"
        )
    assert len(edits) >= 300
    assert accuracy >= 0.95
    assert named >= 0.30
    assert slandered <= 0.01


@pytest.mark.slow
def test_minimal_edits_of_package_descriptions(similarity: Similarity, say: Say) -> None:
    check_edits(minimal_edits(package_passages()), similarity, "package descriptions", say)


def test_minimal_edits_are_the_same_every_time_and_change_one_word() -> None:
    passages = package_passages()
    edits = minimal_edits(passages)
    assert edits == minimal_edits(passages)
    for edit in edits:
        original, corrupted = edit.original.split(), edit.corrupted.split()
        assert original != corrupted
        if edit.kind == "negation":
            assert abs(len(original) - len(corrupted)) == 1
        else:
            assert sum(a != b for a, b in zip(original, corrupted, strict=True)) == 1


@pytest.mark.slow
def test_minimal_edits_of_contexts(similarity: Similarity, say: Say) -> None:
    path = path_of("halueval_qa")
    if not path.exists():
        pytest.skip(f"the labelled data is not at {path}")
    contexts = [context for row in read(path).rows for context in row.contexts]
    check_edits(minimal_edits(contexts), similarity, "HaluEval contexts", say)
