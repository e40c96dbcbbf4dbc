"""How a sweep goes about its work, and the statistic it measures by default. Imports neither torch nor numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# The name of `massact.extract.magnitudes.Magnitudes`, whose table later stages read.
MAGNITUDES = "magnitudes"
_ELSEWHERE: dict[str, Any] = {"omegaconf_ignore": True}  # no key of `sweep` in a configuration


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """How a sweep goes about its work; none of it changes a number.

    Attributes
    ----------
    prefetch
        Checkpoints fetched and read beyond the one being measured.
    disk_gb
        What downloads may take at once; None: what is free.
    keep_downloads
        Whether finished checkpoints that this sweep fetched stay in the cache.
    sequences_at_once
        As in `measure`.
    patience_s
        How long a server that no longer answers is waited for, before those it kept back are tried again.
    bandwidth_mb_s
        For the estimate of time alone.
    suspects
        Whether to measure checkpoints whose weights are not their own.
    seconds_each
        Called with the `Probe`: estimated time to measure one checkpoint; None says nothing of time.
    progress
        Whether to draw a bar.
    """

    prefetch: int = 1
    disk_gb: float | None = None
    keep_downloads: bool = False
    sequences_at_once: int | None = None
    patience_s: float = 300.0
    bandwidth_mb_s: float = 50.0
    suspects: bool = field(default=False, metadata=_ELSEWHERE)
    seconds_each: Callable[..., float] | None = field(default=None, metadata=_ELSEWHERE)
    progress: bool = field(default=True, metadata=_ELSEWHERE)
