"""The dataset card of an exported folder: contents, origin, known biases.

Its front matter is read by ``datasets.load_dataset(FOLDER)``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from rlvr_ray.training.export.decontamination import SIMILARITY
from rlvr_ray.training.export.formats import columns
from rlvr_ray.training.export.overlap import NGRAM, SHINGLE

#: Why a row is not in the export.
REASONS = {
    "unreadable": "not a row of rlvr_ray, or damaged",
    "unfinished": "the last line of a file, while it was being written",
    "repeated": "its id occurred before",
    "empty_answer": "an answer without a visible character",
    "no_contexts": "no passages to put into the prompt",
    "not_an_answer": "the answer contains reasoning, an invented turn or control tokens",
    "contradiction": "another pair of the same question prefers the other answer",
    "too_long": "longer than the token limit",
    "human_tie": "a person found neither answer better",
    "human_discard": "a person found it useless",
    "unreviewed": "it has no review",
    "held_out": "contains a held-out question",
    "near_duplicate": "a near-duplicate of an earlier row",
    "incomplete": "some answers of its batch are missing",
    "unscored": "its verification failed, or those of all answers but one",
    "cut_off": "the answer ended at the generator's token limit",
    "score_too_low": "its score or one of its metrics is below the threshold",
    "defect": "the answer has a known defect",
    "not_the_best": "another answer to the question is better",
    "identical_answers": "a question whose best and worst answer are the same",
    "tie": "a question whose best and worst answer score the same",
    "margin_too_small": "a question whose answers score nearly the same",
    "chosen_too_low": "a question whose best answer scores too low",
    "chosen_defect": "a question whose best answer has a defect, too",
    "no_defect": "a question whose answers have no known defect",
    "quality_filter": "a question whose best answer is very short",
    "length_ratio": "a question whose answers differ too much in length",
    "single_answer": "a question that was asked for one answer",
}
#: The hub's size categories: rows below which each applies.
SIZES = {
    10**3: "n<1K",
    10**4: "1K<n<10K",
    10**5: "10K<n<100K",
    10**6: "100K<n<1M",
    10**7: "1M<n<10M",
    10**8: "10M<n<100M",
    10**9: "100M<n<1B",
}
#: A share of pairs whose chosen is longer that lies outside may teach length.
BALANCED = (0.4, 0.6)


def card(
    report: Mapping[str, Any], version: str, license_: str | None, languages: Sequence[str] = ()
) -> str:
    """The README; ``report`` is what ``export.run`` returns, ``version`` this package's."""
    rows = sum(split["rows"] for split in report["splits"].values())
    front = {
        "license": license_ or "other",
        **({"language": [*languages]} if languages else {}),
        "size_categories": [
            next((name for least, name in SIZES.items() if rows < least), "1B<n<10B")
        ],
        "task_categories": ["text-generation"],
        "tags": ["rlvr-ray", report["format"], *(["dpo"] if _of_pairs(report) else [])],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": split, "path": file} for split, file in report["files"].items()
                ],
            }
        ],
    }
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    body = "\n".join(_body(report, version, license_))
    return f"---\n{head}---\n\n{body}\n"


def _body(report: Mapping[str, Any], version: str, license_: str | None) -> Iterator[str]:
    kind = "Preference pairs" if _of_pairs(report) else "Verified answers"
    if report["format"] == "no-pair":
        kind = "Answers that made no pair"
    asked = "the question" if report["prompt"] == "question" else "the chat with its passages"
    yield f"# {kind} from rlvr_ray\n"
    yield f"{kind} made by rlvr_ray {version} from the rows of `{report['dataset']}`, in the"
    yield f"format `{report['format']}`. A prompt is {asked}; `batch_id` names the batch that a"
    yield "row comes from.\n"
    if license_ is None:
        yield "**License:** not stated. It depends on the documents and on the models' terms.\n"
    yield "## Columns\n"
    named = columns(report["format"])
    yield from _table(["column", ""], *([f"`{name}`", held] for name, held in named.items()))
    yield '\nA message is `{"role": …, "content": …}`.\n'
    yield "```python"
    yield "from datasets import load_dataset"
    yield ""
    files = report["files"]
    kind = "parquet" if files["train"].endswith(".parquet") else "json"
    yield f"files = {json.dumps(files)}"
    yield f'dataset = load_dataset("{kind}", data_files=files)  # in this folder'
    yield 'print(dataset["train"][0])'
    yield "```"
    yield '\nFrom the hub: `load_dataset("OWNER/NAME")`.'
    if "eval" not in files:
        yield "There is no split `eval`."
    yield "\n## Splits\n"
    yield from _splits(report)
    yield "\n## Left out\n"
    yield from _left_out(report)
    if report["human"]:
        yield "\n## People's reviews\n"
        yield from _human(report["human"])
    yield "\n## Where it comes from\n"
    yield from _origin(report)
    yield "\n## Known biases\n"
    yield from (f"- {bias}" for bias in biases(report))


def _splits(report: Mapping[str, Any]) -> Iterator[str]:
    names = list(report["splits"])
    labels = _PAIRS if _of_pairs(report) else _ANSWERS
    figures = [f for f in labels if any(f in report["splits"][name] for name in names)]
    yield from _table(
        ["", *names],
        *([labels[f], *(_figure(report["splits"][n].get(f)) for n in names)] for f in figures),
    )
    split = report["split"]
    yield f"\nEval was to have {split['wanted']:.1%} of the rows and has {split['reached']:.1%}."
    if split["by"] == "document":
        yield "No document, no passage and no question is in both, whatever its name or spelling:"
        yield "rows that share one, directly or through other rows, stay together. There are"
    else:
        yield "No question is in both, whatever its spelling; documents and passages may be."
        yield "There are"
    yield f"{split['groups']:,} such groups of rows; the largest has {split['largest']:,} rows."
    yield f"All rows together are about {report['questions']:,} questions and have passages of"
    yield f"{report['documents']:,} documents."


_SPREAD = "least, quartiles, largest"
_PAIRS = {
    "rows": "pairs",
    "questions": "questions",
    "documents": "documents",
    "cut_off": "share whose chosen was cut off",
    "rejected_cut_off": "share whose rejected was cut off",
    "chosen_longer": "share whose chosen is longer",
    "margin": f"margin: {_SPREAD}",
    "score": f"score of the chosen: {_SPREAD}",
    "chars": f"characters of the chosen: {_SPREAD}",
    "rejected_chars": f"characters of the rejected: {_SPREAD}",
    "tokens": "tokens of the longest, at most",
}
_ANSWERS = {
    "rows": "answers",
    "questions": "questions",
    "documents": "documents",
    "cut_off": "share that was cut off",
    "score": f"score: {_SPREAD}",
    "chars": f"characters: {_SPREAD}",
    "tokens": "tokens of the longest, at most",
}


def _left_out(report: Mapping[str, Any]) -> Iterator[str]:
    if report["pairs"] in ("decided", None) and report["format"] != "no-pair":
        yield f"Of {report['read']:,} rows, {sum(report['left_out'].values()):,} are not here."
    else:
        yield f"{report['read']:,} answers were read, those of a question together."
    if report["left_out"]:
        yield ""
        yield from _table(
            ["reason", "", "rows"],
            *([f"`{name}`", REASONS[name], f"{n:,}"] for name, n in report["left_out"].items()),
        )
    if report["max_tokens"] is None:
        yield "\nNo token limit was given: trainers truncate or drop rows above their own limit."
    else:
        yield f"\nThe token limit is {report['max_tokens']:,}, prompt, answer and chat template"
        yield "included."
    if report["near_duplicates"] is not None:
        yield "\nNear-duplicates have a Jaccard similarity of at least"
        yield f"{report['near_duplicates']:g} in the question and in every answer, measured on"
        yield f"{SHINGLE} words in a row."
    if report["decontaminate"]:
        yield f"\nNo row has {NGRAM} words in a row of a held-out question or its answer, or"
        yield f"{SIMILARITY:.0%} of the words of a held-out question in its own:\n"
        yield from _table(
            ["file", "questions", "rows left out"],
            *(
                # Only its name: the rest of the path is private.
                [f"`{PurePosixPath(f['source']).name}`", f"{f['questions']:,}", f"{f['rows']:,}"]
                for f in report["decontaminate"]
            ),
        )
    else:
        yield "\nNo held-out questions were given: rows may contain questions of a benchmark."


def _human(human: Mapping[str, int]) -> Iterator[str]:
    yield "People compared both answers of pairs without knowing which one the judge had chosen."
    yield "The latest review of each pair that was read is counted below;"
    yield f"{human['turned_round']:,} pairs are swapped here against the judge's decision,"
    yield "and have no margin.\n"
    names = {
        "agree": "the chosen answer is better",
        "disagree": "the rejected answer is better",
        "tie": "neither is better",
        "discard": "useless",
        "unreviewed": "not reviewed",
    }
    yield from _table(
        ["review", "", "pairs"],
        *([f"`{n}`", meaning, f"{human[n]:,}"] for n, meaning in names.items()),
    )


def _origin(report: Mapping[str, Any]) -> Iterator[str]:
    yield "Answers by model:\n"
    yield from _table(
        ["model", "rows"], *([f"`{name}`", f"{n:,}"] for name, n in report["models"].items())
    )
    yield "\nJudges, with the number of rows that they scored:\n"
    names = ("verifier", "model", "engine", "faithfulness", "relevancy", "version")
    judges = [
        [*(f"`{judge[n]}`" if judge[n] else "–" for n in names), f"{judge['rows']:,}"]
        for judge in report["judges"]
    ]
    yield from _table([*names, "rows"], *judges)
    if report["rules"]:
        yield "\nThresholds in force when pairs were made:\n"
        rules = [", ".join(f"`{k}` {v}" for k, v in r["rule"].items()) for r in report["rules"]]
        counts = [f"{rule['rows']:,}" for rule in report["rules"]]
        yield from _table(["rule", "rows"], *zip(rules, counts, strict=True))
    if report["defects"]:
        yield "\nDefects of the rejected answers:\n"
        yield from _table(
            ["defect", "rows"],
            *(
                [f"`{d['defect']}`" if d["defect"] else "–", f"{d['rows']:,}"]
                for d in report["defects"]
            ),
        )
    if report["min_score"] is not None:
        yield f"\nAnswers have a score of at least {report['min_score']:g} and no known defect, and"
        yield "were not cut off."
    versions = ", ".join(f"`{name}` ({n:,})" for name, n in report["prompt_versions"].items())
    yield f"\nVersions of the prompt that answers were written under, with rows: {versions}."
    if report["prompt"] == "rag-messages":
        yield f"Prompts here are worded as in `{report['prompt_version']}`."


def biases(report: Mapping[str, Any]) -> Iterator[str]:
    """Known biases for those who train on the data, a sentence or two each."""
    yield (
        "Scores are the results of the judges above, not truth. `rlvr judge-report` measures how "
        "reliable a judge is."
    )
    if any(judge["faithfulness"] == "grounded" for judge in report["judges"]):
        yield (
            "`grounded` measures containment in the passages: it knows no synonyms, and prefers "
            "answers in the passages' words."
        )
    if any(judge["faithfulness"] for judge in report["judges"]):
        yield (
            "Faithfulness is the supported share of an answer's statements: answers with few "
            "statements reach its ends more easily."
        )
    both = sorted({judge["model"] for judge in report["judges"]} & {*report["models"]} - {""})
    if both:
        yield f"{', '.join(f'`{name}`' for name in both)} judged answers of its own."
    longer = report["splits"]["train"].get("chosen_longer")
    if longer is not None and not BALANCED[0] <= longer <= BALANCED[1]:
        yield (
            f"The chosen answer is the longer one in {longer:.0%} of the training pairs: a model "
            "can learn length from them instead of quality."
        )
    if contradictions := report["left_out"].get("contradiction"):
        yield (
            "The judges contradict themselves. Rows left out since another pair of the same "
            f"question prefers the other answer: {contradictions:,}."
        )
    for found in report["control_tokens"]:
        tokens = ", ".join(f"`{token}`" for token in found["tokens"])
        yield (
            f"Rows with control tokens of chat templates in {found['place']}: {found['rows']:,}, "
            f"such as {tokens}. A trainer's tokenizer may read them as its own."
        )
    cut = sum(round(split["cut_off"] * split["rows"]) for split in report["splits"].values())
    if cut:
        which = "Chosen answers" if _of_pairs(report) else "Answers"
        yield f"{which} that were cut off at the token limit: {cut:,}."
    yield "Abstentions are mostly recognised in English."


def _of_pairs(report: Mapping[str, Any]) -> bool:
    return report["pairs"] is not None


def _figure(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{number:,.6g}" for number in value)
    if isinstance(value, float):
        return f"{value:.3f}"
    return "–" if value is None else f"{value:,}"


def _table(head: Sequence[str], *rows: Sequence[str]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
