"""The outcomes of each training, and the effects of the architecture's factors on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from massact.errors import FitError

OUTCOMES = {
    "end_ratio": "ratio at the last step",
    "peak_ratio": "largest ratio over training",
    "onset_step": "step at half the rise of the log ratio from step 0 to its largest",
}
# The scale of each factor, and the meaning of a step of 1 on it.
FACTORS = {
    "n_layers": ("log2", "twice the depth"),
    "d_model": ("log2", "twice the width"),
    "n_heads": ("log2", "twice the heads"),
    "mlp_ratio": ("log2", "twice the MLP ratio"),
    "rotary_fraction": ("linear", "rotary fraction 1 instead of 0.25"),
    "parallel_residual": ("linear", "parallel instead of sequential residual"),
}


def outcomes(trajectories: pd.DataFrame) -> pd.DataFrame:
    """One row per training: model, seed and the `OUTCOMES` of the geometric mean of the ratio over layers.

    Parameters
    ----------
    trajectories
        Schema TRAJECTORIES, of one recipe.
    """
    ratio: Any = trajectories[trajectories["quantity"] == "ratio"]
    logs: Any = np.log(ratio.set_index(["model", "seed", "step", "layer"])["value"])
    mean: Any = logs.groupby(["model", "seed", "step"]).mean()
    rows = []
    for (model, seed), curve in mean.groupby(["model", "seed"]):
        steps = curve.index.get_level_values("step").to_numpy(dtype=np.float64)
        values = curve.to_numpy()
        rows.append((model, seed, np.exp(values[-1]), np.exp(values.max()), onset(steps, values)))
    return pd.DataFrame(rows, columns=["model", "seed", *OUTCOMES])


def onset(steps: Float[ndarray, " step"], log_ratio: Float[ndarray, " step"]) -> float:
    """The step at which a curve reaches half its rise from the first value to the largest, in steps.

    It is interpolated in log(1 + step). NaN for a curve that never rises.
    """
    half = (log_ratio[0] + log_ratio.max()) / 2
    at = int(np.flatnonzero(log_ratio >= half)[0])
    if at == 0:
        return float("nan")
    low, high = log_ratio[at - 1], log_ratio[at]
    share = (half - low) / (high - low)
    ends = np.log1p(steps[at - 1 : at + 1])
    return float(np.expm1(ends[0] + share * (ends[1] - ends[0])))


def factor_columns(architectures: pd.DataFrame) -> pd.DataFrame:
    """The columns of `FACTORS`, each on its own scale. `architectures` has schema ARCHITECTURES."""
    table = architectures.assign(mlp_ratio=architectures["d_mlp"] / architectures["d_model"])
    columns = {
        name: np.log2(table[name]) if scale == "log2" else table[name].astype(float)
        for name, (scale, _) in FACTORS.items()
    }
    columns["rotary_fraction"] = (columns["rotary_fraction"] - 0.25) / 0.75
    return pd.DataFrame(columns, index=architectures.index)


def effects(x: pd.DataFrame, log_y: Float[ndarray, " row"], names: Sequence[str] | None = None) -> pd.DataFrame:
    """Multiplicative effect of each factor on an outcome, by least squares on the outcome's logarithm.

    Parameters
    ----------
    x
        One column per factor, one row per architecture.
    log_y
        Natural logarithm of the outcome.
    names
        Columns to use. None: all.

    Returns
    -------
    One row per factor: `factor`; `times`, the multiple of the outcome for one step on the factor's scale; `lower` and
    `upper`, its 95 % interval (heteroscedasticity-consistent standard errors HC3 of MacKinnon and White 1985, Student's
    t); `share`, the share of the outcome's variance that is lost without the factor. `.attrs["r2"]` is the R2 of all
    factors together.

    Raises
    ------
    FitError
        There are not more rows than coefficients.
    """
    from scipy.stats import t as student_t

    columns = list(names or x.columns)
    a = np.column_stack([np.ones(len(x)), x[columns].to_numpy(dtype=np.float64)])
    n, k = a.shape
    if n <= k:
        raise FitError(f"{n} architectures do not determine {k - 1} effects", "train more of the suite")
    inverse = np.linalg.pinv(a.T @ a)
    beta = inverse @ a.T @ log_y
    residual = log_y - a @ beta
    leverage = np.einsum("ij,jk,ik->i", a, inverse, a)
    meat = (a * (residual / (1 - leverage))[:, None] ** 2).T @ a
    stderr = np.sqrt(np.diag(inverse @ meat @ inverse))
    half = student_t.ppf(0.975, n - k) * stderr
    sse, total = float(residual @ residual), float(np.sum((log_y - log_y.mean()) ** 2))
    rows = []
    for j, name in enumerate(columns, start=1):
        reduced = np.delete(a, j, axis=1)
        remainder = log_y - reduced @ np.linalg.lstsq(reduced, log_y, rcond=None)[0]
        rows.append(
            {
                "factor": name,
                "times": np.exp(beta[j]),
                "lower": np.exp(beta[j] - half[j]),
                "upper": np.exp(beta[j] + half[j]),
                "share": (float(remainder @ remainder) - sse) / total,
            }
        )
    table = pd.DataFrame(rows)
    table.attrs["r2"] = 1 - sse / total
    return table


def design_rows(measured: pd.DataFrame, architectures: pd.DataFrame, part: str = "grid") -> tuple[pd.DataFrame, Any]:
    """Factors and log outcomes of the architectures in one part of a suite. Only finished trainings count.

    Parameters
    ----------
    measured
        The result of `outcomes`.
    architectures
        Schema ARCHITECTURES.

    Returns
    -------
    factors, log outcomes
        One row per architecture, with columns `FACTORS` and `OUTCOMES`. Outcomes are means over seeds.
    """
    finished = architectures[(architectures["part"] == part) & (architectures["status"] == "done")]
    joined = finished.merge(measured, on=["model", "seed"])
    logs: Any = np.log(joined[list(OUTCOMES)])
    first = joined.drop_duplicates("model")
    return factor_columns(first.set_index("model")), logs.groupby(joined["model"]).mean().loc[first["model"]]


def ladders(architectures: pd.DataFrame) -> list[str]:
    """Names of a suite's ladders: the parts of its design other than the grid."""
    return sorted(set(architectures["part"]) - {"grid"})


def ladder_outcomes(measured: pd.DataFrame, architectures: pd.DataFrame, part: str) -> pd.DataFrame:
    """Outcomes of each head count of a ladder: geometric mean over seeds, standard deviation of the log, seeds."""
    joined = architectures[architectures["part"] == part].merge(measured, on=["model", "seed"])
    rows = []
    for heads, group in joined.groupby("n_heads"):
        logs = np.log(group[list(OUTCOMES)])
        row: dict[str, Any] = {"n_heads": heads, "seeds": len(group)}
        for name in OUTCOMES:
            row[name] = float(np.exp(logs[name].mean()))
            row[f"{name}_log_sd"] = float(logs[name].std(ddof=1)) if len(group) > 1 else float("nan")
        rows.append(row)
    return pd.DataFrame(rows)


def slope(x: Float[ndarray, " row"], log_y: Float[ndarray, " row"]) -> Mapping[str, float]:
    """Multiple of an outcome per step of `x`, with its 95 % interval: `effects` of one column."""
    row = effects(pd.DataFrame({"x": x}), log_y).iloc[0]
    return {name: float(row[name]) for name in ("times", "lower", "upper")}
