"""Translate errors of the Hub into errors of this package."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from massact.checkpoints.reach import doubt
from massact.checkpoints.source import CheckpointStatus, SourceError
from massact.disk import free_bytes

Answer = TypeVar("Answer")

# Waits before the second and third request to a busy (429) or failing (5xx) server. A busy one may ask for longer.
RETRY_WAITS_S = (1.0, 2.0)
LONGEST_WAIT_S = 300.0
_BUSY = (429, 500, 502, 503, 504)
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)


def ask(call: Callable[[], Answer], repo_id: str, revision: str, endpoint: str) -> Answer:
    """Call the Hub, and retry for a few seconds if it is busy.

    Raises
    ------
    SourceError
        The last error, from `translated`.
    """
    waits = iter(RETRY_WAITS_S)
    while True:
        try:
            return call()
        except http_errors() as error:
            wait = next(waits, None) if _code(error) in _BUSY else None
            if wait is None:
                if _code(error) is None:
                    doubt(endpoint)
                raise translated(error, repo_id, revision, endpoint) from None
            time.sleep(max(wait, _asked_to_wait(error)))


def http_errors() -> tuple[type[Exception], ...]:
    """OSError, the base of the HTTP library's errors (huggingface_hub has changed libraries), and three more.

    huggingface_hub raises these for an invalid name, for an answer that is not from a Hub, and for a download whose
    second attempt reaches no server.
    """
    from huggingface_hub.errors import HfHubHTTPError

    return (
        *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)),
        ValueError,
        KeyError,
        TypeError,
    )


def translated(error: BaseException, repo_id: str, revision: str, endpoint: str) -> SourceError:
    """A SourceError for an error of huggingface_hub or the operating system."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    where = f"{repo_id} {revision}"
    if isinstance(error, RevisionNotFoundError):
        return SourceError(CheckpointStatus.REVISION_MISSING, f"{repo_id} has no revision {revision}")
    if isinstance(error, RepositoryNotFoundError):
        return SourceError(
            CheckpointStatus.UNREACHABLE,
            f"{endpoint} shows no repository {repo_id}",
            "check its name; a gated or private one needs: hf auth login",
            fatal=True,
        )
    if "onsistency check" in str(error):
        return SourceError(
            CheckpointStatus.CORRUPT, f"the download of {where} is incomplete ({_first(error)})", "run it again"
        )
    code = _code(error)
    if code == 429:
        return SourceError(
            CheckpointStatus.UNREACHABLE,
            f"{where}: {endpoint} allows no more requests for now (429)",
            "wait five minutes and run it again: downloaded files are kept",
        )
    reason = f"{endpoint} answered {code}" if code else _first(error.__cause__ or error)
    return SourceError(CheckpointStatus.UNREACHABLE, f"{where}: {reason}")


def disk_full(error: BaseException, what: str, folder: Path, needed: int) -> SourceError | None:
    """The error for a disk that refuses a download; None if the disk was not the cause."""
    if not isinstance(error, OSError) or error.errno not in _DISK:
        return None
    reason = f"{_first(error)}; {needed} bytes needed, {free_bytes(folder)} free"
    return SourceError(CheckpointStatus.DISK_FULL, f"{what} cannot be stored in {folder} ({reason})", fatal=True)


def _code(error: BaseException) -> int | None:
    """HTTP status that an error or its cause reports; None if there was no answer."""
    own = getattr(getattr(error, "response", None), "status_code", None)
    return own if own is not None or error.__cause__ is None else _code(error.__cause__)


def _asked_to_wait(error: BaseException) -> float:
    """Seconds that a busy server asks clients to wait (Retry-After or RateLimit), limited to a sensible maximum."""
    answer = getattr(error, "response", None)
    if answer is None:
        return 0.0
    delay = str(answer.headers.get("Retry-After", ""))
    if not delay.isdigit():  # the Hub's own limits: RateLimit: "api";r=0;t=55
        left = re.search(r"r=0;\s*t=(\d+)", str(answer.headers.get("RateLimit", "")))
        delay = left[1] if left else "0"
    return min(float(delay), LONGEST_WAIT_S)


def _first(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
