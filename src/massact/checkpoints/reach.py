"""Which server is used, and whether it answers; it is asked once, briefly, before a library starts to retry."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request

PUBLIC_ENDPOINT = "https://huggingface.co"
_TRUE = ("1", "true", "yes", "on")
REACH_TIMEOUT_S = 3.0
# How long an answer counts: a sweep over 154 steps asks often. A missing answer counts for less time, because a
# network may come back.
BELIEVED_S = 60.0
SILENCE_BELIEVED_S = 2.0
_answered: dict[str, tuple[float, bool]] = {}


def hub_is_offline() -> bool:
    """Whether HF_HUB_OFFLINE restricts massact to the local cache."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE


def endpoint_named(endpoint: str | None = None) -> str:
    """The server: `endpoint` if given, else HF_ENDPOINT, else the public Hub."""
    return (endpoint or os.environ.get("HF_ENDPOINT") or PUBLIC_ENDPOINT).rstrip("/")


def reachable(endpoint: str, timeout: float = REACH_TIMEOUT_S) -> bool:
    """Whether a server gives any HTTP answer within `timeout` seconds, including name look-up and proxies."""
    now = time.monotonic()
    when, answer = _answered.get(endpoint, (-BELIEVED_S, False))
    if now - when >= (BELIEVED_S if answer else SILENCE_BELIEVED_S):
        answer = _asked(endpoint, timeout)
        _answered[endpoint] = (time.monotonic(), answer)
    return answer


def doubt(endpoint: str) -> None:
    """Forget that a server answered, after a request that got no answer."""
    _answered.pop(endpoint, None)


def _asked(endpoint: str, timeout: float) -> bool:
    """Ask in a thread that may be abandoned, because a name look-up has no timeout."""
    answers: list[bool] = []
    asker = threading.Thread(target=lambda: answers.append(_answers(endpoint, timeout)), daemon=True)
    asker.start()
    asker.join(timeout)
    return bool(answers and answers[0])


def _answers(endpoint: str, timeout: float) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=timeout):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
