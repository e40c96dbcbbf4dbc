"""The outputs of stage=predict for DVC: metrics as JSON, scores and predictions as CSV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from massact.disk import write_text
from massact.predict.regressors import BASELINES


def write_outputs(scores: pd.DataFrame, predictions: pd.DataFrame, folder: str | Path) -> None:
    """Write `metrics.json`, `scores.csv`, `predictions.csv` and two small tables that DVC plots, each atomically.

    `end_ratio.csv` has the ratio at the end of training, as fitted and as predicted by ridge with the layer's
    architecture held out. `regressors.csv` has the median held-out R2 of each regressor over all quantities and
    targets.
    """
    folder = Path(folder)
    write_text(folder / "metrics.json", json.dumps(metrics(scores), indent=1, sort_keys=True) + "\n")
    write_text(folder / "scores.csv", scores.to_csv(index=False, float_format="%.6g"))
    write_text(folder / "predictions.csv", predictions.to_csv(index=False, float_format="%.8g"))
    held_out: Any = predictions[predictions["split"] == "architecture"]
    end = held_out.query("quantity == 'ratio' and target == 'f_end' and regressor == 'ridge'")
    columns = ["recipe", "model", "seed", "layer", "actual", "predicted"]
    write_text(folder / "end_ratio.csv", end[columns].to_csv(index=False, float_format="%.6g"))
    table: Any = scores[scores["split"] == "architecture"]
    medians = table.groupby("regressor", sort=False)["r2"].median().reset_index()
    write_text(folder / "regressors.csv", medians.to_csv(index=False, float_format="%.4f"))


def metrics(scores: pd.DataFrame) -> dict[str, Any]:
    """Three numbers per recipe, each the median R2 over all quantities and targets, or None.

    `ridge` holds whole architectures out. `baseline` is the better of the trivial baselines on the same split.
    `ridge_random_split` is on the paper's split. They are few so that `dvc metrics show` fits on a line; scores.csv has
    every score.
    """
    table: Any = scores  # pandas' stubs know no column types
    by_recipe: dict[str, Any] = {}
    for recipe, rows in table.groupby("recipe"):
        medians = rows.groupby(["split", "regressor"])["r2"].median().dropna().round(4).to_dict()
        trivial = [medians[at] for name in BASELINES if (at := ("architecture", name)) in medians]
        by_recipe[str(recipe)] = {
            "ridge": medians.get(("architecture", "ridge")),
            "baseline": max(trivial, default=None),
            "ridge_random_split": medians.get(("random", "ridge")),
        }
    return by_recipe
