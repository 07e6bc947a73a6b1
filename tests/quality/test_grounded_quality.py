"""How well grounding tells supported answers from unsupported ones, on labelled data.

The data lies beside the repository (its README says where it comes from); the minimal edits need
only the descriptions of installed packages and run everywhere.
"""

import importlib.metadata
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlvr_ray.adapters.embedding import MiniLM
from rlvr_ray.core.calibration import like_length, pair_accuracy, roc_auc
from rlvr_ray.core.grounding import Similarity, faithfulness, ground
from tests.quality.minimal_edits import KINDS, Edit, minimal_edits

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
HALUEVAL, BEGIN = DATA / "halueval_qa.jsonl", DATA / "begin_wow_dev.jsonl"
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
    model = MiniLM()
    vectors: dict[str, Any] = {}

    def embed(texts: Sequence[str]) -> Any:
        for text in texts:
            if text not in vectors:
                vectors[text] = model.embed([text])[0]
        return np.stack([vectors[text] for text in texts])

    def cosines(rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
        matrix: list[list[float]] = (embed(rows) @ embed(columns).T).tolist()
        return matrix

    return cosines


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def score(question: str, answer: str, context: str, similarity: Similarity) -> float:
    return faithfulness(ground(question, answer, [context], similarity))


def known(figure: float | None) -> float:
    assert figure is not None, "there was nothing to measure"
    return figure


def halves(values: Sequence[Any], measure: Callable[[Sequence[Any]], float | None]) -> str:
    middle = len(values) // 2
    first, second = known(measure(values[:middle])), known(measure(values[middle:]))
    return f"{known(measure(values)):.3f} (halves {first:.3f}, {second:.3f})"


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
    scored = {
        kind: [
            (
                score("", edit.original, edit.passage, similarity),
                score("", edit.corrupted, edit.passage, similarity),
            )
            for edit in edits
            if edit.kind == kind
        ]
        for kind in KINDS
    }
    parts = ", ".join(
        f"{kind} {known(pair_accuracy(pairs)):.3f} of {len(pairs)}, corrupted below 0.5 "
        f"{sum(worse < 0.5 for _, worse in pairs) / len(pairs):.2f}"
        for kind, pairs in scored.items()
    )
    accuracy = known(pair_accuracy([pair for pairs in scored.values() for pair in pairs]))
    say(f"minimal edits of {title}: {accuracy:.3f} of {len(edits)} pairs ({parts})")
    assert len(edits) >= 300
    assert accuracy >= 0.90


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


def test_labelled_data(similarity: Similarity, say: Say) -> None:
    if not (HALUEVAL.exists() and BEGIN.exists()):
        pytest.skip(f"the labelled data is not at {DATA}")

    data = rows(HALUEVAL)
    pairs = []
    for row in data:
        right, wrong = (
            score(row["question"], row[key], row["context"], similarity)
            for key in ("right_answer", "wrong_answer")
        )
        pairs.append((right, wrong, like_length(row["right_answer"], row["wrong_answer"])))

    def accuracy(of: Sequence[tuple[float, float, bool]]) -> float:
        return known(pair_accuracy((right, wrong) for right, wrong, _ in of))

    def matched_accuracy(of: Sequence[tuple[float, float, bool]]) -> float:
        return known(pair_accuracy((right, wrong) for right, wrong, matched in of if matched))

    begin = [
        (score(row["message"], row["response"], row["context"], similarity), row["supported"])
        for row in rows(BEGIN)
    ]
    say(f"HaluEval QA, {len(pairs)} pairs: {halves(pairs, accuracy)}")
    count = sum(matched for _, _, matched in pairs)
    say(f"HaluEval QA, {count} length-matched pairs: {halves(pairs, matched_accuracy)}")
    say(f"BEGIN, {len(begin)} responses, ROC AUC: {halves(begin, roc_auc)}")
    check_edits(
        minimal_edits([row["context"] for row in data]), similarity, "HaluEval contexts", say
    )
    assert accuracy(pairs) >= 0.92
    assert matched_accuracy(pairs) >= 0.90
    assert known(roc_auc(begin)) >= 0.95
