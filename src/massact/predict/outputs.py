"""What stage=predict leaves for DVC: metrics as JSON, scores and predictions as CSV."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from massact.disk import write_text


def write_outputs(scores: pd.DataFrame, predictions: pd.DataFrame, folder: Path) -> None:
    """Write `metrics.json`, `scores.csv`, `predictions.csv`, and two small tables that DVC plots; each whole or absent.

    `end_ratio.csv`: the fitted ratio at the end of training, as measured and as predicted by ridge with the layer's
    architecture held out. `regressors.csv`: median R2 of each regressor over all quantities and targets, held out.
    """
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
    """Median R2 over all quantities and targets, by recipe, form, split and regressor; None where there is none.

    A few numbers, so that `dvc metrics show` and `dvc metrics diff` can be read; scores.csv has each of them.
    """
    nested: dict[str, Any] = {}
    table: Any = scores  # pandas' stubs know no column types
    for (recipe, form, split, regressor), rows in table.groupby(["recipe", "form", "split", "regressor"]):
        r2 = float(rows["r2"].median())
        level = nested.setdefault(recipe, {}).setdefault(form, {}).setdefault(split, {})
        level[regressor] = None if math.isnan(r2) else round(r2, 4)
    return nested
