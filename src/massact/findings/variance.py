"""Variance components of an outcome: between architectures, between seeds, between probe sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from massact.errors import FitError

COMPONENTS = ("architecture", "seed", "sequence", "architecture x sequence", "rest")


def end_by_sequence(records: pd.DataFrame) -> pd.DataFrame:
    """Log ratio of each sequence at the last step, averaged over layers: model, seed, sequence, value."""
    last: Any = records[records["step"] == records.groupby(["model", "seed"])["step"].transform("max")]
    value = np.log(last["top1"].astype(float) / last["median"].astype(float))
    return last.assign(value=value).groupby(["model", "seed", "sequence"], as_index=False)["value"].mean()


def components(y: Float[ndarray, "architecture seed sequence"]) -> dict[str, float]:
    """Variance components of a balanced layout: seeds nested in architectures, crossed with sequences.

    The model is y = mean + architecture + seed(architecture) + sequence + architecture x sequence + rest, all random.
    The estimates come from the mean squares (analysis of variance; Searle, Casella and McCulloch 1992, chapter 4).
    Negative estimates are set to 0.

    Raises
    ------
    FitError
        There are fewer than two architectures, seeds or sequences.
    """
    a, s, q = y.shape
    if min(a, s, q) < 2:
        raise FitError(f"{a} architectures x {s} seeds x {q} sequences", "at least two of each are needed")
    mean = y.mean()
    by_a, by_q = y.mean(axis=(1, 2)), y.mean(axis=(0, 1))
    by_as, by_aq = y.mean(axis=2), y.mean(axis=1)
    ms_a = s * q * np.sum((by_a - mean) ** 2) / (a - 1)
    ms_s = q * np.sum((by_as - by_a[:, None]) ** 2) / (a * (s - 1))
    ms_q = a * s * np.sum((by_q - mean) ** 2) / (q - 1)
    ms_aq = s * np.sum((by_aq - by_a[:, None] - by_q + mean) ** 2) / ((a - 1) * (q - 1))
    rest = y - by_as[:, :, None] - by_aq[:, None, :] + by_a[:, None, None]
    ms_e = np.sum(rest**2) / (a * (s - 1) * (q - 1))
    estimates = {
        "architecture": (ms_a - ms_s - ms_aq + ms_e) / (s * q),
        "seed": (ms_s - ms_e) / q,
        "sequence": (ms_q - ms_aq) / (a * s),
        "architecture x sequence": (ms_aq - ms_e) / s,
        "rest": ms_e,
    }
    return {name: max(0.0, float(estimates[name])) for name in COMPONENTS}


def balanced(values: pd.DataFrame) -> Float[ndarray, "architecture seed sequence"]:
    """The models with the most seeds, from the table of `end_by_sequence`. Others are left out.

    Raises
    ------
    FitError
        Replicates were measured on different sequences.
    """
    counts: Any = values.groupby("model")["seed"].nunique()
    most = int(counts.max())
    complete: Any = values[values["model"].isin(counts[counts == most].index)]
    models, sequences = complete["model"].nunique(), complete["sequence"].nunique()
    ordered = complete.sort_values(by=["model", "seed", "sequence"])
    if len(ordered) != models * most * sequences:
        raise FitError("replicates were measured on different sequences", "train them again")
    return ordered["value"].to_numpy(dtype=np.float64).reshape(models, most, sequences)


def noise_ceiling(log_y: pd.Series, models: pd.Series) -> float:
    """The largest R2 that any predictor based on the architecture alone can reach on single trainings.

    It is 1 - (pooled variance between seeds of one model) / (variance over all models, one training each).
    """
    frame = pd.DataFrame({"y": log_y.to_numpy(dtype=np.float64), "model": models.to_numpy()})
    groups: Any = frame.groupby("model")["y"]
    more: Any = groups.size() - 1
    within, freedom = float((more * groups.var(ddof=1).fillna(0.0)).sum()), int(more.sum())
    if freedom < 1:
        return float("nan")
    return 1 - within / freedom / float(groups.first().var(ddof=1))
