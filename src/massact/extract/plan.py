"""Estimate the disk space and the time of a sweep before it begins."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from massact.architecture import Architecture
from massact.disk import free_bytes
from massact.errors import ConfigError

GB = 1e9
# The assumed speed of a measurement, as a share of the speed of one large matrix product. By processor time it is about
# 0.9 (docs/lab/cost.md); half leaves a margin for small widths and for other work on the machine.
FORWARD_SHARE = 0.5
_SPARE_BYTES = 200_000_000  # left free on the disk of the downloads


@dataclass(frozen=True)
class SweepPlan:
    """Checkpoints to measure, bytes to fetch, largest use of the disk, and seconds for fetching and measuring."""

    checkpoints: int
    fetch_bytes: int
    peak_bytes: int
    fetch_seconds: float
    measure_seconds: float

    def __str__(self) -> str:
        fetching = (
            f"; {self.fetch_bytes / GB:.2f} GB to fetch, {self.peak_bytes / GB:.2f} GB on disk at once"
            if self.fetch_bytes
            else ""
        )
        return f"{self.checkpoints} checkpoints to measure, about {_spoken(self.seconds)}{fetching}"

    @property
    def seconds(self) -> float:
        """The longer of fetching and measuring, which run at the same time."""
        return max(self.fetch_seconds, self.measure_seconds)


def plan_sweep(
    sizes: Sequence[int], *, depth: int, keep: bool, seconds_each: float, bandwidth_mb_s: float
) -> SweepPlan:
    """The plan for checkpoints in order.

    Parameters
    ----------
    sizes
        Bytes to fetch for each checkpoint, 0 if it is on disk already.
    depth
        Checkpoints fetched beyond the one being measured.
    keep
        Whether finished checkpoints stay on disk.
    seconds_each
        Time to measure one checkpoint.
    """
    total = sum(sizes)
    window = depth + 1
    peak = total if keep else max((sum(sizes[i : i + window]) for i in range(len(sizes))), default=0)
    return SweepPlan(len(sizes), total, peak, total / (bandwidth_mb_s * 1e6), seconds_each * len(sizes))


def require_disk(plan: SweepPlan, folder: Path, disk_gb: float | None) -> None:
    """Refuse a sweep whose downloads do not fit on the disk.

    Raises
    ------
    ConfigError
        The message states the space needed and the free space.
    """
    if not plan.peak_bytes:
        return
    free = max(0, free_bytes(folder) - _SPARE_BYTES)
    allowed = free if disk_gb is None else min(free, int(disk_gb * GB))
    if plan.peak_bytes > allowed:
        budget = f", sweep.disk_gb allows {disk_gb:g} GB" if disk_gb is not None and disk_gb * GB < free else ""
        raise ConfigError(
            f"downloads need {plan.peak_bytes / GB:.2f} GB at once in {folder}, {free / GB:.2f} GB are free{budget}",
            "set HF_HOME to a larger disk, sweep.prefetch=0 or sweep.keep_downloads=false",
        )


def forward_flops(architecture: Architecture, sequences: int, length: int) -> float:
    """Floating-point operations of the block stack for all sequences: two per weight and token, plus attention.

    It assumes the two MLP matrices of GPT-NeoX. A gated MLP (Llama) has a third one: about a quarter more in total.
    """
    a = architecture
    weights = a.n_layers * (4 * a.d_model**2 + 2 * a.d_model * a.d_mlp)
    attention = a.n_layers * 2 * length * a.d_model
    return 2.0 * sequences * length * (weights + attention)


def matmul_flops_per_second(dtype: str, device: str) -> float:
    """Speed of one large matrix product on this machine."""
    import torch

    size = 1024 if device == "cpu" else 8192
    matrix = torch.ones(size, size, dtype=getattr(torch, dtype), device=device)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        (matrix @ matrix).sum().item()
        best = min(best, time.perf_counter() - began)
    return 2.0 * size**3 / best


def _spoken(seconds: float) -> str:
    """A duration in words.

    >>> _spoken(5.2), _spoken(90), _spoken(100000)
    ('5 s', '2 min', '27.8 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
