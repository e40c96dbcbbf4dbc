"""Options of a sweep, and the name of its default statistic. Imports neither torch nor numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# The name of `massact.extract.magnitudes.Magnitudes`, whose table later stages read.
MAGNITUDES = "magnitudes"
_NOT_CONFIGURED: dict[str, Any] = {"omegaconf_ignore": True}  # not a key of `sweep` in a configuration


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """How a sweep processes checkpoints. No option changes a number.

    Attributes
    ----------
    prefetch
        Checkpoints fetched and read beyond the one being measured.
    disk_gb
        Disk space that downloads may use at once. None: all free space.
    keep_downloads
        Whether finished checkpoints that this sweep fetched stay in the cache.
    sequences_at_once
        As in `measure`.
    patience_s
        How long to wait for a server that stops answering, before the missing checkpoints are tried again.
    bandwidth_mb_s
        Used only for the estimate of time.
    suspects
        Whether to measure checkpoints whose weights are not their own.
    seconds_each
        Function of the `Probe`: the estimated time to measure one checkpoint. None: no estimate.
    progress
        Whether to show a progress bar.
    """

    prefetch: int = 1
    disk_gb: float | None = None
    keep_downloads: bool = False
    sequences_at_once: int | None = None
    patience_s: float = 300.0
    bandwidth_mb_s: float = 50.0
    suspects: bool = field(default=False, metadata=_NOT_CONFIGURED)
    seconds_each: Callable[..., float] | None = field(default=None, metadata=_NOT_CONFIGURED)
    progress: bool = field(default=True, metadata=_NOT_CONFIGURED)
