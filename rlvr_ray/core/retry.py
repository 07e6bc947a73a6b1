"""Retries with growing pauses, by tenacity, for parts that are down or overloaded.

Every room uses it, so it is in core/, which otherwise imports only pydantic.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_never,
)

from rlvr_ray.core.errors import Overloaded, ReplyError, TimedOut, Unavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses between attempts: each twice the one before, up to the longest.

    Each is multiplied by a random number from ``low`` to ``high``, so that all who lost one server
    do not come back to it at once.
    """

    first_s: float
    longest_s: float
    low: float = 0.5
    high: float = 1.0

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row, 1 or more."""
        doubled = self.first_s * 2.0 ** min(failures - 1, 30)
        return min(doubled, self.longest_s) * random.uniform(self.low, self.high)  # noqa: S311 no secret

    def attempts(
        self,
        again: Callable[[BaseException], bool],
        note: Callable[[BaseException, float], object] = lambda *_: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        most: int | None = None,
    ) -> AsyncRetrying:
        """Attempts, ``most`` or without end: ``async for attempt in …: with attempt: …``.

        ``again`` decides of a failure whether to try again; else it is raised as it is. ``note``
        gets the failure and the seconds before the next attempt.
        """

        def before_sleep(state: RetryCallState) -> None:
            error = state.outcome and state.outcome.exception()
            assert error, "only what failed is tried again"
            note(error, state.upcoming_sleep)

        return AsyncRetrying(
            retry=retry_if_exception(again),
            wait=lambda state: self.pause(state.attempt_number),
            before_sleep=before_sleep,
            sleep=sleep,
            stop=stop_after_attempt(most) if most else stop_never,
            reraise=True,
        )


async def persist(
    attempt: Callable[[], Awaitable[T]],
    wait: Callable[[float, str], Awaitable[None]],
    *,
    first_s: float,
    longest_s: float,
    attempts: int,
) -> T:
    """Try until it works; raises what will not change by waiting.

    What is down or has too much to do is waited for as long as it takes: ``wait`` is given the
    pause and the reason. What runs into the time limit, or gets a reply that cannot be used,
    ``attempts`` times is raised.
    """
    late, reason = 0, ""

    def note(error: BaseException, _: float) -> None:
        nonlocal reason
        reason = str(error)

    def again(error: BaseException) -> bool:
        nonlocal late
        if isinstance(error, TimedOut | ReplyError):
            late += 1
            return late < attempts
        return isinstance(error, Overloaded | Unavailable)

    backoff = Backoff(first_s=first_s, longest_s=longest_s)
    async for one in backoff.attempts(again, note, lambda seconds: wait(seconds, reason)):
        with one:
            return await attempt()
    raise AssertionError("there is always another attempt")
