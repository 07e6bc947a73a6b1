"""What tokens cost."""

from dataclasses import dataclass

from rlvr_ray.core.records import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Of a million tokens each, in a currency that only its user knows."""

    prompt: float
    cached: float  #: tokens of a prompt that the prefix cache had
    completion: float

    def cost(self, usage: Usage) -> float:
        """Of so many tokens, in the same currency."""
        computed = usage.prompt_tokens - usage.cached_tokens
        return (
            self.prompt * computed
            + self.cached * usage.cached_tokens
            + self.completion * usage.completion_tokens
        ) / 1e6
