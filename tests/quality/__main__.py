"""How good the pairs are, over all labelled files beside the checkout, in one table.

    python -m tests.quality                              what `make quality` runs
    python -m tests.quality triples --wrong 10           one file, and 10 of its wrong pairs
    python -m tests.quality triples --oracle             with a judge that knows the labels
    python -m tests.quality FILE.jsonl --set dpo.min_score_diff=0.1

It ends with 1 where a goal of ``measuring.GOALS`` is not reached, or where a file is missing.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rlvr_ray.core.records import Verification
from rlvr_ray.settings import parsed
from rlvr_ray.verification.calibration.evaluation import Result
from tests.quality.measuring import GOALS, Judge, Measured, measure, misses, path_of, table

#: Characters of a text that is shown.
CHARS = 400


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and say whether all goals are reached."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="files, or names of them")
    parser.add_argument("--oracle", action="store_true", help="with a judge that knows the labels")
    parser.add_argument("--limit", type=int, help="only the first rows")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    for what in ("wrong", "right", "none"):
        wanted = "rows without a pair" if what == "none" else f"{what} pairs"
        parser.add_argument(f"--{what}", type=int, default=0, metavar="N", help=f"show N {wanted}")
    parser.add_argument("--json", type=Path, help="a file for the whole results")
    options = parser.parse_args(arguments)

    by: Judge = "oracle" if options.oracle else "default"
    todo: list[tuple[str, Judge]] = [(name, by) for name in options.names] or list(GOALS)
    started = time.monotonic()
    found: list[Measured | str] = []
    for name, judge in todo:
        if path_of(name).exists():
            found.append(measure(name, judge, options.limit, **parsed(options.set)))
        else:
            found.append(f"{name}: the labelled data is not at {path_of(name)}")
        print(table(found, kinds=False)[-1], file=sys.stderr, flush=True)
    print("\n".join(table(found)))
    measured = [one for one in found if isinstance(one, Measured)]
    for one in measured:
        for chosen in ("wrong", "right", "none"):
            for text in _shown(one, chosen, getattr(options, chosen)):
                print(f"\n{text}")
    if options.json:
        results = {f"{one.name}, {one.judge}": one.result for one in measured}
        options.json.write_text(json.dumps(results, indent=1, ensure_ascii=False), "utf-8")
    problems = [problem for one in measured if not options.limit for problem in misses(one)]
    problems += [one for one in found if isinstance(one, str)]
    print(f"\n{time.monotonic() - started:.0f} s; {len(problems)} goals not reached")
    print("\n".join(problems))
    return 1 if problems else 0


def _shown(measured: Measured, chosen: str, count: int) -> list[str]:
    """The first rows with such an end, each with its texts, scores and defect."""
    decided: Result | None = measured.result["decisions"]
    if decided is None:
        return []
    label = None if chosen == "none" else chosen
    found = [o for o in decided["outcomes"] if o["chosen"] == label]
    return [_outcome(measured, outcome) for outcome in found[:count]]


def _outcome(measured: Measured, outcome: Result) -> str:
    (row,) = (row for row in measured.labelled.rows if row.line == outcome["line"])
    end = f"{outcome['chosen']} chosen" if outcome["chosen"] else f"no pair: {outcome['reason']}"
    lines = [
        f"{measured.name}:{row.line} {row.kind}: {end}, defect {outcome['defect']}; "
        f"{outcome['detail']}",
        f"  question: {row.question[:CHARS]}",
    ]
    for answer, score in zip(row.answers, outcome["scores"], strict=True):
        (judged,) = (j for j in measured.judged if (j.line, j.answer) == (row.line, answer))
        name = "right" if answer.right else "wrong"
        lines.append(f"  {name} {score}: {answer.text[:CHARS]}")
        result = judged.results[0]
        if not isinstance(result, Verification):
            lines.append(f"      {result}")
            continue
        lines += [
            f"      {a.verifier} (weight {a.weight:g}): faithfulness {a.faithfulness}, "
            f"relevancy {a.relevancy}, defect {a.defect}; {a.detail}"
            for a in result.assessments
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
