"""A DPO training on exported pairs: its settings, and its figures by our names."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

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
    beta: float = 0.1  #: weight of staying close to the first model; DPO's paper, arXiv 2305.18290
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
