"""Do the thresholds of ``grounded`` hold on kinds and sources that they were not chosen on?

    python -m tests.quality.cross_validation

Each kind of the triples and each other labelled file is left out in turn. On the rest, the
thresholds are chosen from a grid: of those with which every file has a precision of at least
PRECISION, the ones with the highest yield. Pairs of what was left out are counted with these. The
rules themselves were written with the labelled files at hand; only files that were not can measure
those. The product's thresholds are those of the grid's middle.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rlvr_ray.documents.embedding_cache import KeptVectors
from rlvr_ray.verification import grounding
from tests.embedder import minilm
from tests.quality import measuring

FILES = (
    "triples",
    "triples_more",
    "ragtruth_qa_dev",
    "ragtruth_summary_dev",
    "ragtruth_data2txt_dev",
    "halueval_qa",
)
#: What is chosen: module, name, values.
GRID = (
    (grounding, "_ENOUGH", (0.42, 0.48, 0.54)),
    (grounding, "_UNSUPPORTED", (0.34, 0.4, 0.46)),
)
PRECISION = 0.92
#: Enough for every sentence of the files.
VECTORS = 100_000

Values = tuple[float, ...]
Tally = Counter[str]  #: rows, pairs, right


def main() -> None:
    """Measure every point of the grid, then choose and count fold by fold."""
    kept = KeptVectors(minilm(), VECTORS)
    measuring.minilm = lambda: kept  # type: ignore # embedded once
    points: dict[Values, dict[str, Tally]] = {}
    for values in itertools.product(*(choices for _, _, choices in GRID)):
        with thresholds(values):
            points[values] = groups()
        print(values, {name: dict(tally) for name, tally in points[values].items()}, flush=True)
    total: dict[str, Tally] = {}
    for name in next(iter(points.values())):
        best = chosen(points, name)
        tally = points[best][name]
        total.setdefault(source(name), Counter()).update(tally)
        print(f"{name:30} left out: {shown(tally)}, with {best}")
    for file, tally in total.items():
        print(f"{file:30} together: {shown(tally)}")


@contextmanager
def thresholds(values: Values) -> Iterator[None]:
    """These thresholds for a while."""
    before = [getattr(module, name) for module, name, _ in GRID]
    for (module, name, _), value in zip(GRID, values, strict=True):
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(GRID, before, strict=True):
            setattr(module, name, value)


def groups() -> dict[str, Tally]:
    """Rows, pairs and right pairs of each kind of the triples and of each other file."""
    found: dict[str, Tally] = {}
    for name in FILES:
        decided = measuring.measure(name, "default").result["decisions"]
        assert decided is not None, f"{name} has pairs"
        for outcome in decided["outcomes"]:
            group = f"{name}: {outcome['kind']}" if name == "triples" else name
            tally = found.setdefault(group, Counter())
            tally["rows"] += 1
            tally["pairs"] += outcome["chosen"] is not None
            tally["right"] += outcome["chosen"] == "right"
    return found


def source(group: str) -> str:
    """The file that a group is of."""
    return group.partition(":")[0]


def chosen(points: dict[Values, dict[str, Tally]], left_out: str) -> Values:
    """The thresholds that serve the other groups best, each file counting alike."""

    def worth(values: Values) -> tuple[bool, float]:
        files: dict[str, Tally] = {}
        for group, tally in points[values].items():
            if group != left_out:
                files.setdefault(source(group), Counter()).update(tally)
        least = min(tally["right"] / max(1, tally["pairs"]) for tally in files.values())
        mean_yield = sum(tally["pairs"] / tally["rows"] for tally in files.values()) / len(files)
        return (True, mean_yield) if least >= PRECISION else (False, least)

    return max(points, key=worth)


def shown(tally: Tally) -> str:
    """Right pairs of all, and the share of rows that became one."""
    return f"{tally['right']} of {tally['pairs']} pairs right, of {tally['rows']} rows"


if __name__ == "__main__":
    main()
