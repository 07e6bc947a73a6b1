"""What is down or has too much to do is waited for: runs of many calls must not end for it."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rlvr_ray.core.errors import Overloaded, ReplyError, TimedOut, Unavailable

T = TypeVar("T")


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
    pause, late = first_s, 0
    while True:
        try:
            return await attempt()
        except (TimedOut, ReplyError) as error:
            late += 1
            if late == attempts:
                raise
            reason = str(error)
        except (Overloaded, Unavailable) as error:
            reason = str(error)
        await wait(pause * random.uniform(0.5, 1), reason)  # noqa: S311 not a secret
        pause = min(2 * pause, longest_s)
