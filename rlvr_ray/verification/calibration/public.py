"""Settings in a report, without secrets."""

import re
from typing import Any
from urllib.parse import urlsplit

#: Names of options that hold secrets, and what stands in their place.
_SECRET = re.compile(r"(key|token|secret|password|credentials?|authorization)$", re.IGNORECASE)
_HIDDEN = "**********"


def public(value: Any, name: str = "") -> Any:
    """Settings without what must not be told: secrets, users and queries of URLs."""
    if isinstance(value, dict):
        return {key: public(entry, str(key)) for key, entry in value.items()}
    if isinstance(value, list):
        return [public(entry, name) for entry in value]
    if not isinstance(value, str):
        return value
    if _SECRET.search(name):
        return _HIDDEN
    if "://" not in value:
        return value
    try:
        url = urlsplit(value)
    except ValueError:
        return _HIDDEN
    return url._replace(netloc=url.netloc.rpartition("@")[2], query="", fragment="").geturl()
