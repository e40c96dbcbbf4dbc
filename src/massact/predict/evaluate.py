"""Out-of-sample scores on the paper's random split and with whole architectures held out, beside trivial baselines."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from tqdm import tqdm

from massact.predict.features import architecture_groups, feature_matrix, layer_columns
from massact.predict.limits import FEW_ARCHITECTURES
from massact.predict.regressors import BASELINES, make_regressor
from massact.predict.schemas import PREDICTIONS, SCORES, SPLITS
from massact.predict.targets import scale_of

MIN_ROWS = 5
MOST_GROUP_FOLDS = 10  # of whole architectures; with ten or fewer architectures, each is held out alone


@dataclass(frozen=True)
class Task:
    """The rows of one recipe, form, quantity and target.

    They are features, the columns of them that differ between layers, values, and the architecture of each row.
    """

    names: dict[str, str]
    rows: pd.DataFrame
    x: Float[ndarray, "row feature"]
    layer: tuple[int, ...]
    y: Float[ndarray, " row"]
    groups: Int[ndarray, " row"]


def score_all(
    fits: Mapping[str, pd.DataFrame],
    *,
    quantities: Sequence[str],
    targets: Sequence[str],
    regressors: Mapping[str, Mapping[str, Any] | None],
    features: str = "both",
    include_undetermined: bool = False,
    folds: int = 5,
    seed: int = 0,
    progress: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score every regressor and baseline on every target.

    Parameters
    ----------
    fits
        Tables of fits, by form. Targets that a form does not have are skipped.
    regressors
        Hyperparameters by name. The baselines are added.
    include_undetermined
        Also learn from parameters that the fit marks as undetermined, as the paper does.
    folds
        Folds of the random split. Each row is predicted once, by a model trained on the other folds.

    Returns
    -------
    scores, predictions
        Schemas SCORES and PREDICTIONS. Scores are NaN where there are too few rows or architectures.
    """
    options = {**{name: dict(value or {}) for name, value in regressors.items()}, **{name: {} for name in BASELINES}}
    tasks = list(_tasks(fits, quantities, targets, features, include_undetermined))
    scores, predictions = [], []
    for task, split, (name, hyperparameters) in tqdm(
        list(itertools.product(tasks, SPLITS, options.items())), desc="predict", unit="score", disable=not progress
    ):
        score, predicted = _score(task, split, name, hyperparameters, folds, seed)
        scores.append(score)
        if predicted is not None:
            predictions.append(predicted)
    empty = pd.DataFrame(columns=list(PREDICTIONS.columns))
    return (
        SCORES.validate(pd.DataFrame(scores, columns=list(SCORES.columns)), "scores"),
        PREDICTIONS.validate(pd.concat(predictions, ignore_index=True) if predictions else empty, "predictions"),
    )


def caution(n_architectures: int) -> str:
    """The caution to print with held-out scores."""
    if n_architectures >= FEW_ARCHITECTURES:
        return f"Held-out scores rest on {n_architectures} architectures."
    return (
        f"Only {n_architectures} architectures: a score on held-out architectures is based on as few independent cases "
        "and means little. In the random split, training and test sets share models."
    )


def _tasks(
    fits: Mapping[str, pd.DataFrame],
    quantities: Sequence[str],
    targets: Sequence[str],
    features: str,
    include_undetermined: bool,
) -> Iterator[Task]:
    for form, table in fits.items():
        for recipe, quantity, target in itertools.product(sorted(table["recipe"].unique()), quantities, targets):
            if target not in table.columns:
                continue
            rows: Any = table[(table["recipe"] == recipe) & (table["quantity"] == quantity)]
            rows = rows[_usable(rows, target, include_undetermined)].reset_index(drop=True)
            names = {"recipe": str(recipe), "form": form, "quantity": quantity, "target": target}
            x, columns = feature_matrix(rows, features)
            layer = layer_columns(columns)
            yield Task(names, rows, x, layer, rows[target].to_numpy(dtype=np.float64), architecture_groups(rows))


def _usable(rows: pd.DataFrame, target: str, include_undetermined: bool) -> Bool[ndarray, " row"]:
    usable = np.isfinite(rows[target].to_numpy(dtype=np.float64)) & (rows["regime"] != "failed").to_numpy()
    flag = f"{target}_determined"
    if flag in rows.columns and not include_undetermined:
        usable &= rows[flag].to_numpy(dtype=bool)
    return usable


def _folds(task: Task, split: str, folds: int, seed: int) -> list[tuple[ndarray, " ndarray"]]:
    """Pairs of training and test row numbers; none if there are too few rows or architectures."""
    if len(task.y) < MIN_ROWS:
        return []
    from sklearn.model_selection import GroupKFold, KFold

    if split == "architecture":
        held_out = min(MOST_GROUP_FOLDS, len(np.unique(task.groups)))
        return list(GroupKFold(held_out).split(task.x, groups=task.groups)) if held_out > 1 else []
    return list(KFold(min(folds, len(task.y)), shuffle=True, random_state=seed).split(task.x))


def _score(
    task: Task, split: str, name: str, options: dict[str, Any], folds: int, seed: int
) -> tuple[dict[str, Any], pd.DataFrame | None]:
    pairs = _folds(task, split, folds, seed)
    row: dict[str, Any] = {
        **task.names,
        "regressor": name,
        "split": split,
        "r2": np.nan,
        "r2_transformed": np.nan,
        "mae": np.nan,
        "n_train": max((len(train) for train, _ in pairs), default=0),
        "n_test": len(task.y) if pairs else 0,
        "n_architectures": len(np.unique(task.groups)),
    }
    if not pairs:
        return row, None
    predicted, z_actual, z_predicted = (np.full(len(task.y), np.nan) for _ in range(3))
    for train, test in pairs:
        predicted[test], z_actual[test], z_predicted[test] = _predict(task, train, test, name, options, seed)
    row["r2"] = _r2(task.y, predicted)
    row["r2_transformed"] = _r2(z_actual, z_predicted)
    row["mae"] = float(np.mean(np.abs(task.y - predicted)))
    frame = task.rows[["model", "seed", "layer"]].assign(
        **task.names, regressor=name, split=split, actual=task.y, predicted=predicted
    )
    return row, frame


def _predict(
    task: Task, train: ndarray, test: ndarray, name: str, options: dict[str, Any], seed: int
) -> tuple[ndarray, ndarray, ndarray]:
    """Predictions of the test rows on both scales. They do not depend on the test rows' values."""
    scale, regressor = scale_of(task.names["target"]), make_regressor(name, seed, options, layer=task.layer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant targets in a fold; convergence of the lasso
        scale.fit(task.y[train])
        z = scale.forward(task.y[train])
        z_predicted = np.asarray(regressor.fit(task.x[train], z).predict(task.x[test]), dtype=np.float64)
        # A linear model can extrapolate wildly: clip it to one span beyond the training values.
        span = float(np.ptp(z))
        z_predicted = np.clip(z_predicted, z.min() - span, z.max() + span)
        return scale.inverse(z_predicted), scale.forward(task.y[test]), z_predicted


def _r2(actual: Float[ndarray, " row"], predicted: Float[ndarray, " row"]) -> float:
    """1 - SSE / total sum of squares about the mean of all rows; NaN if the rows do not vary."""
    scale = float(np.max(np.abs(actual))) or 1.0
    a, p = actual / scale, predicted / scale
    total = float(np.sum((a - a.mean()) ** 2))
    return 1 - float(np.sum((a - p) ** 2)) / total if total > 0 else float("nan")
