"""A DPO training on exported pairs: options, figures, report."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from rlvr_ray.core.fields import DIGITS
from rlvr_ray.generation.prompts import ASK

Messages = list[dict[str, str]]

#: Passed to the chat template, here as in serving: Llama's puts today's date into the prompt.
TEMPLATE = {"date_string": "26 Jul 2024"}
#: Of eval, by what the trainer calls them.
FIGURES = {
    "loss": "eval_loss",
    "reward_margin": "eval_rewards/margins",
    "reward_accuracy": "eval_rewards/accuracies",
    "chosen_reward": "eval_rewards/chosen",
    "rejected_reward": "eval_rewards/rejected",
    "chosen_logp": "eval_logps/chosen",
    "rejected_logp": "eval_logps/rejected",
}
#: Of a step.
STEP_FIGURES = {
    "step": "step",
    "loss": "loss",
    "reward_margin": "rewards/margins",
    "reward_accuracy": "rewards/accuracies",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
}
SIDES = ("before", "after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a model is trained. The defaults are for 3B parameters and a few thousand pairs."""

    model: str  #: a folder, a name on the model hub, or a GGUF file
    full: bool = False  #: train all weights instead of an adapter (LoRA, arXiv 2106.09685)
    merge: bool = False  #: also write the adapter's model as one, for engines that want that
    epochs: float = 1.0  #: DPO overfits within a few
    max_steps: int | None = None  #: steps, whatever ``epochs`` says
    batch: int = 16  #: pairs a step: few enough that some hundred pairs make some dozen steps
    device_batch: int = 2  #: pairs that one worker holds at once; memory grows with it
    learning_rate: float | None = None  #: None: see ``rate``
    beta: float = 0.1  #: how dear it is to leave the first model; DPO's paper, arXiv 2305.18290
    rank: int = 16  #: of the adapter's matrices, which go to all linear layers
    max_length: int = 2048  #: tokens of prompt and answer: five passages and what goes with them
    answer_tokens: int = 128  #: limit of an answer to a held-out question
    seed: int = 0

    @property
    def rate(self) -> float:
        """The learning rate at its height.

        5e-6 for all weights, above the paper's 1e-6, whose sets are larger by far; adapters want
        about ten times as much as all weights.
        """
        return self.learning_rate or (5e-6 if self.full else 5e-5)

    def accumulation(self, workers: int) -> int:
        """How often each worker goes forward and back for one step, so that ``batch`` is met."""
        return -(-self.batch // (workers * self.device_batch))

    def plain(self) -> dict[str, Any]:
        """For the report."""
        return {**asdict(self), "learning_rate": self.rate}


def question_of(prompt: Messages) -> str:
    """The question that an exported prompt asks, passages or none."""
    return prompt[-1]["content"].rpartition(ASK.partition("{question}")[0])[2]


def with_passages(prompt: Messages) -> bool:
    """Whether an exported prompt is the chat with its passages; the bare one is one message."""
    return any(message["role"] == "system" for message in prompt)


def figures(metrics: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, float]:
    """What the trainer measured, by our names; what is no number is left out."""
    found = {ours: metrics[theirs] for ours, theirs in names.items() if theirs in metrics}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def compared(questions: Sequence[Mapping[str, Any]], min_diff: float) -> dict[str, Any]:
    """Answers before and after, over all questions; scores over those that have both.

    Scores that are less than ``min_diff`` apart count as equal: judges vary by some hundredths.
    ``chars`` is the mean length in characters: DPO tends to make answers longer.
    """
    scores = [
        (before, after)
        for question in questions
        if (before := question["before"].get("score")) is not None
        and (after := question["after"].get("score")) is not None
    ]
    found: dict[str, Any] = {
        "count": len(questions),
        "changed": sum(q["before"]["answer"] != q["after"]["answer"] for q in questions),
        "chars": {side: fmean(len(q[side]["answer"]) for q in questions) for side in SIDES},
        "scored": len(scores),
    }
    if scores:
        found["score"] = {side: fmean(pair[at] for pair in scores) for at, side in enumerate(SIDES)}
        differences = [round(after - before, DIGITS) for before, after in scores]
        found["min_diff"] = min_diff
        found["better"] = sum(difference >= min_diff for difference in differences)
        found["worse"] = sum(-difference >= min_diff for difference in differences)
        found["equal"] = len(scores) - found["better"] - found["worse"]
    return found


def text(report: Mapping[str, Any]) -> Iterator[str]:
    """The report for people, line by line."""
    model, data, training, answers = (report[k] for k in ("model", "data", "training", "answers"))
    trained = f"{model['trained_parameters']:,} of {model['parameters']:,} parameters trained"
    yield f"model     {model['name']}: {trained}, {model['dtype']}"
    counts = " and ".join(f"{split['rows']:,} {name}" for name, split in data["splits"].items())
    yield f"data      {data['folder']}: {counts} pairs, prompts: {data['prompt']}"
    for name, split in data["splits"].items():
        for what in ("dropped", "cut"):
            if split[what]:
                limit = report["settings"]["max_length"]
                yield f"          {name}: {split[what]:,} {what}, longer than {limit:,} tokens"
    yield (
        f"training  {training['steps']:,} steps of {training['pairs_per_step']:,} pairs in "
        f"{training['seconds']:,.0f} s, {training['workers']} × {training['device']}"
    )
    yield ""
    yield f"{'eval':<24}{'before':>12}{'after':>12}"
    for name in FIGURES:
        values = [report["eval"][side].get(name) for side in SIDES]
        if None not in values:
            yield f"{name.replace('_', ' '):<24}" + "".join(f"{value:>12.4f}" for value in values)
    yield ""
    yield f"{answers['count']:,} held-out questions from {answers['source']}, answered greedily:"
    if "score" in answers:
        yield f"{'mean score':<24}" + "".join(f"{answers['score'][s]:>12.4f}" for s in SIDES)
    yield f"{'mean characters':<24}" + "".join(f"{answers['chars'][s]:>12.0f}" for s in SIDES)
    yield f"{answers['changed']:,} answers changed"
    if "score" in answers:
        yield (
            f"{answers['scored']:,} with both scores: {answers['better']:,} better and "
            f"{answers['worse']:,} worse by at least {answers['min_diff']:g}"
        )
    if answers["not_scored"]:
        yield f"answers were not scored: {answers['not_scored']}"
