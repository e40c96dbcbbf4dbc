"""Measured curves as a design: a row per training and layer, the log of its value at common steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from massact.architecture import Architecture
from massact.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

# Two architectures that differ only in this are one design point: a ladder varies it and nothing else.
LADDER_FACTOR = "n_heads"


@dataclass(frozen=True)
class Curves:
    """The curves of one recipe and quantity.

    Attributes
    ----------
    steps : int (step,)
        Optimiser steps, ascending.
    log_values : float (row, step)
        Natural logarithm of the quantity.
    rows
        DataFrame with columns model, seed, layer and those of the architecture, a row per training and layer.
    training : int (row,)
        The number of the row's training.
    design : int (row,)
        The number of the row's design point. All seeds of an architecture and all rungs of a ladder share it.
    """

    steps: Int[ndarray, " step"]
    log_values: Float[ndarray, "row step"]
    rows: pd.DataFrame
    training: Int[ndarray, " row"]
    design: Int[ndarray, " row"]

    @property
    def log_steps(self) -> Float[ndarray, " step"]:
        """log(1 + step)."""
        return np.log1p(self.steps.astype(np.float64))

    def subset(self, rows: ndarray) -> Curves:
        """The curves of some rows: numbers, or a mask. Trainings and design points keep their numbers."""
        picked: Any = self.rows.iloc[np.arange(len(self.rows))[rows]]
        return Curves(
            self.steps,
            self.log_values[rows],
            picked.reset_index(drop=True),
            self.training[rows],
            self.design[rows],
        )


def curves_of(
    trajectories: pd.DataFrame,
    architectures: Mapping[str, Architecture],
    *,
    quantity: str = "ratio",
    steps: Int[ndarray, " step"] | None = None,
) -> Curves:
    """The curves of one recipe's trajectories.

    Parameters
    ----------
    trajectories
        Schema TRAJECTORIES, of one recipe.
    architectures
        By model name.
    steps
        Steps to interpolate at, in log(1 + step), within the range that every training covers. None: the steps that
        all trainings share.

    Raises
    ------
    TableError
        There are no rows of the quantity; a value is not positive; a model has no architecture; no steps are shared.
    """
    import pandas as pd

    table: Any = trajectories[trajectories["quantity"] == quantity]
    if table.empty:
        raise TableError(f"the trajectories have no {quantity}", "extract a model first")
    values = table["value"].to_numpy(dtype=np.float64)
    wrong = table[~(np.isfinite(values) & (values > 0))]
    if len(wrong):
        row = wrong.iloc[0]
        raise TableError(
            f"model {row['model']}, step {row['step']}, layer {row['layer']}: {quantity} {row['value']}",
            "a forecast needs positive values: leave that checkpoint out",
        )
    unknown = sorted(set(table["model"].astype(str)) - set(architectures))
    if unknown:
        raise TableError(f"the architecture of model {', '.join(unknown[:3])} is missing", "pass it by model")
    wide: Any = table.pivot_table(index=["model", "seed", "layer"], columns="step", values="value").sort_index()
    logs = np.log(wide.to_numpy(dtype=np.float64))
    measured = wide.columns.to_numpy(dtype=np.int64)
    at = measured if steps is None else steps
    if steps is None:
        shared = np.isfinite(logs).all(axis=0)
        if shared.sum() < 2:
            raise TableError("the trainings share fewer than two steps", "pass the steps to interpolate at")
        at, logs = measured[shared], logs[:, shared]
    else:
        logs = np.stack([_interpolated(measured, row, steps) for row in logs])
    index: Any = wide.index.to_frame(index=False)
    numbers = pd.DataFrame([architectures[str(model)].as_dict() for model in index["model"]])
    rows = pd.concat([index, numbers], axis=1)
    without = [name for name in numbers.columns if name != LADDER_FACTOR]
    return Curves(
        at,
        logs,
        rows,
        rows.groupby(["model", "seed"], sort=False).ngroup().to_numpy(),
        rows.groupby(without, sort=False, dropna=False).ngroup().to_numpy(),
    )


def design_weights(design: Int[ndarray, " row"]) -> Float[ndarray, " row"]:
    """Weights that sum to 1, the same for every design point and spread evenly over its rows."""
    _, number, sizes = np.unique(design, return_inverse=True, return_counts=True)
    return 1 / (len(sizes) * sizes[number])


def _interpolated(measured: ndarray, row: ndarray, steps: ndarray) -> ndarray:
    """The row at these steps, linear in log(1 + step). Steps that were not measured are NaN in the row."""
    present = np.isfinite(row)
    return np.interp(np.log1p(steps), np.log1p(measured[present]), row[present])
