"""Which server is asked, and whether it answers: asked once and briefly, before a library begins to retry."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request

PUBLIC_ENDPOINT = "https://huggingface.co"
_TRUE = ("1", "true", "yes", "on")
REACH_TIMEOUT_S = 3.0
# How long an answer is believed: a sweep over 154 steps asks often. That there was none is believed for less: a
# network comes back.
BELIEVED_S = 60.0
SILENCE_BELIEVED_S = 2.0
_answered: dict[str, tuple[float, bool]] = {}


def hub_is_offline() -> bool:
    """Whether HF_HUB_OFFLINE allows the local cache alone."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE


def endpoint_named(endpoint: str | None = None) -> str:
    """The server: the one given, else HF_ENDPOINT, else the public Hub."""
    return (endpoint or os.environ.get("HF_ENDPOINT") or PUBLIC_ENDPOINT).rstrip("/")


def reachable(endpoint: str, timeout: float = REACH_TIMEOUT_S) -> bool:
    """Whether a server gives any HTTP answer within `timeout` seconds, name look-up and proxies included."""
    now = time.monotonic()
    when, answer = _answered.get(endpoint, (-BELIEVED_S, False))
    if now - when >= (BELIEVED_S if answer else SILENCE_BELIEVED_S):
        answer = _asked(endpoint, timeout)
        _answered[endpoint] = (time.monotonic(), answer)
    return answer


def doubt(endpoint: str) -> None:
    """Forget that a server answered: a request to it has just come back without an answer."""
    _answered.pop(endpoint, None)


def _asked(endpoint: str, timeout: float) -> bool:
    """Ask in a thread that may be left behind: a name look-up knows no timeout."""
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
