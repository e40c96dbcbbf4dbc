"""Whether a server answers, asked once and briefly, before a library begins to retry."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request

REACH_TIMEOUT_S = 3.0
# An answer is believed this long: a sweep over 154 steps asks often, and a network comes back.
BELIEVED_S = 60.0
_answered: dict[str, tuple[float, bool]] = {}


def reachable(endpoint: str, timeout: float = REACH_TIMEOUT_S) -> bool:
    """Whether a server gives any HTTP answer within `timeout` seconds, name look-up and proxies included."""
    now = time.monotonic()
    when, answer = _answered.get(endpoint, (-BELIEVED_S, False))
    if now - when >= BELIEVED_S:
        answer = _asked(endpoint, timeout)
        _answered[endpoint] = (time.monotonic(), answer)
    return answer


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
