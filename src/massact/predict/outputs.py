"""What stage=predict leaves for DVC: metrics as JSON, scores and predictions as CSV."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd


def write_outputs(scores: pd.DataFrame, predictions: pd.DataFrame, folder: Path) -> None:
    """Write `metrics.json`, `scores.csv` and `predictions.csv`; each is whole or absent."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "metrics.json", json.dumps(metrics(scores), indent=1, sort_keys=True) + "\n")
    _write(folder / "scores.csv", scores.to_csv(index=False, float_format="%.6g"))
    _write(folder / "predictions.csv", predictions.to_csv(index=False, float_format="%.8g"))


def metrics(scores: pd.DataFrame) -> dict[str, Any]:
    """R2 nested by recipe, form, quantity, target, split and regressor, to four digits; None where there is none."""
    nested: dict[str, Any] = {}
    for row in scores.to_dict("records"):
        level = nested
        for name in ("recipe", "form", "quantity", "target", "split"):
            level = level.setdefault(str(row[name]), {})
        r2 = float(row["r2"])
        level[str(row["regressor"])] = None if math.isnan(r2) else round(r2, 4)
    return nested


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
