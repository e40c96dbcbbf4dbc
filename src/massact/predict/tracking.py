"""The MLflow runs of the tables: models with their fits, suites with their scores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from massact.mlflow_runs import Run, log_runs

SCORE = ["recipe", "form", "quantity", "target", "regressor", "split"]
MODEL = ["family", "recipe", "model", "seed"]
_SPLITS = {"architecture": "architectures held out", "random": "random split"}
_SHAPE = ("n_layers", "d_model", "n_heads", "d_mlp", "n_points")

# Draw writes figures into a folder; Figures makes a Draw from the rows of a table.
Draw = Callable[[Path], object]
Figures = Callable[[pd.DataFrame], Draw]


def log_scores(scores: pd.DataFrame, predictions: pd.DataFrame, *, tracking_uri: str, experiment: str) -> int:
    """Log `score_runs` and return the number of scores of these tables in the store."""
    return log_runs(score_runs(scores, predictions), tracking_uri=tracking_uri, experiment=experiment)


def log_fits(fits: pd.DataFrame, *, form: str, tracking_uri: str, experiment: str) -> int:
    """Log `fit_runs` of one form and return the number of fitted models of this table in the store."""
    return log_runs(fit_runs({form: fits}), tracking_uri=tracking_uri, experiment=experiment)


def score_runs(scores: pd.DataFrame, predictions: pd.DataFrame) -> list[Run]:
    """One run per (recipe, form), with a nested run per (quantity, target, regressor, split)."""
    tables = dict(iter(predictions.groupby(SCORE, sort=False)))
    runs = []
    table: Any = scores  # pandas' stubs know no column types
    for (recipe, form), rows in table.groupby(["recipe", "form"], sort=False):
        parent = _suite_run(str(recipe), str(form), rows)
        runs.append(parent)
        runs += [_score_run(row, tables.get(tuple(row[name] for name in SCORE)), parent) for row in _rows(rows)]
    return runs


def fit_runs(
    fits: Mapping[str, pd.DataFrame],
    trajectories: pd.DataFrame | None = None,
    draw: Figures | None = None,
    draw_fits: Callable[[str, pd.DataFrame], Draw | None] | None = None,
) -> list[Run]:
    """One run per (family, recipe, model, seed), with a nested run per form.

    The model's run has `ratio/layer00` and so on at each measured step. A form's run has the median R2 of each quantity
    and its table.

    Parameters
    ----------
    fits
        Tables of fits, by form.
    trajectories
        Schema TRAJECTORIES, of some or all models.
    draw, draw_fits
        Makes the function that writes the figures of a model's trajectories, or of a form and its fits, into a folder.
    """
    by_model = {} if trajectories is None else dict(iter(trajectories.groupby(MODEL, sort=False)))
    parents: dict[Any, Run] = {}
    nested = []
    for form, frame in fits.items():
        table: Any = frame  # pandas' stubs know no column types
        for model, rows in table.groupby(MODEL, sort=False):
            if model not in parents:
                parents[model] = _model_run(model, rows.iloc[0], by_model.get(model), draw)
            nested.append(_fit_run(form, rows, parents[model], draw_fits and draw_fits(form, rows)))
    return [*parents.values(), *nested]


def _suite_run(recipe: str, form: str, rows: Any) -> Run:
    best = rows.groupby(["split", "regressor"], sort=False)["r2"].median()
    return Run(
        {"kind": "scores", "recipe": recipe, "form": form},
        f"{recipe}: scores of {form}",
        metrics={f"r2_{split}/{regressor}": float(value) for (split, regressor), value in best.items()},
        files={"scores.csv": rows.to_csv(index=False, float_format="%.8g")},
    )


def _score_run(row: Mapping[Any, Any], rows: Any, parent: Run) -> Run:
    columns = ["model", "seed", "layer", "actual", "predicted"]
    return Run(
        {"kind": "score", **{name: str(row[name]) for name in SCORE}},
        f"{row['target']} of {row['quantity']}, {row['regressor']}, {_SPLITS.get(str(row['split']), row['split'])}",
        metrics={
            name: float(row[name]) for name in ("r2", "r2_transformed", "mae", "n_train", "n_test", "n_architectures")
        },
        files={} if rows is None else {"predictions.csv": rows[columns].to_csv(index=False, float_format="%.8g")},
        parent=parent.identity,
    )


def _model_run(model: Any, first: Any, trajectories: pd.DataFrame | None, draw: Figures | None) -> Run:
    family, recipe, name, seed = map(str, model)
    shape = {name: str(first[name]) for name in _SHAPE if name != "n_points"}
    identity = {"kind": "model", "family": family, "recipe": recipe, "model": name, "seed": seed}
    title = f"{name} seed {seed}"
    if trajectories is None:
        return Run(identity, title, parameters=shape)
    return Run(
        identity,
        title,
        steps=_steps(trajectories),
        parameters=shape,
        figures=draw and draw(trajectories),
        drawn=_hash(trajectories),
    )


def _fit_run(form: str, rows: Any, parent: Run, figures: Draw | None) -> Run:
    quantities = rows.groupby("quantity")
    metrics = {f"r2_{name}": float(group["r2"].median()) for name, group in quantities}
    metrics |= {f"end_{name}_largest": float(group["f_end"].max()) for name, group in quantities}
    first = rows.iloc[0]
    return Run(
        {**parent.identity, "kind": "fit", "form": form},
        f"{form} of {parent.name}",
        metrics=metrics,
        parameters={name: str(first[name]) for name in _SHAPE},
        files={f"{form}.csv": rows.to_csv(index=False, float_format="%.8g")},
        figures=figures,
        drawn="" if figures is None else parent.drawn,
        parent=parent.identity,
    )


def _steps(trajectories: pd.DataFrame) -> dict[str, dict[int, float]]:
    """`ratio/layer00` and so on -> step -> value, unitless. Values that are not finite are left out."""
    steps: dict[str, dict[int, float]] = {}
    for row in _rows(trajectories.sort_values(["quantity", "layer", "step"])):
        if np.isfinite(row["value"]):
            steps.setdefault(f"{row['quantity']}/layer{row['layer']:02d}", {})[int(row["step"])] = float(row["value"])
    return steps


def _hash(table: Any) -> str:
    return hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()


def _rows(table: Any) -> list[dict[Any, Any]]:
    return table.to_dict("records")
