"""Sections 6 and 7: predictions from the architecture, and their scores. Each function returns its template's data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from massact.fit.forms import FORMS
from massact.predict.schemas import SPLITS
from massact.report.formats import form_name, target_name
from massact.report.frames import distinct, numbers, rows_of, where
from massact.report.inputs import BASELINES, ReportInputs, Slice, of_slice, slices
from massact.report.plot_predictions import MOST_NAMED, SPLIT_NAMES, best_regressors, predictions_figure

FEW = 10  # architectures; with fewer, a held-out score says little in general


def predictions_section(inputs: ReportInputs) -> dict[str, Any]:
    """Section 6: predicted against fitted values, one figure per recipe (Eq. 9's ratio if it was scored)."""
    scored = not (inputs.predictions.empty or inputs.scores.empty)
    return {"scored": scored, "figures": _figures(inputs) if scored else ()}


def scores_section(inputs: ReportInputs) -> dict[str, Any]:
    """Section 7: every score with its baselines."""
    if inputs.scores.empty:
        return {"tables": []}
    return {
        "architectures": int(numbers(inputs.scores, "n_architectures").max()),
        "few": FEW,
        "tables": [(which, _score_table(of_slice(inputs.scores, which))) for which in slices(inputs.scores)],
        "determined": _determined(inputs),
    }


def _figures(inputs: ReportInputs) -> Iterator[tuple[Figure, Slice, bool]]:
    """The figure of each recipe that has one, its slice, and whether it has too many models to name."""
    for which in _first_of_each_recipe(slices(inputs.predictions)):
        scores, predictions = of_slice(inputs.scores, which), of_slice(inputs.predictions, which)
        if best_regressors(scores):
            many = len(distinct(predictions, "model")) > MOST_NAMED
            yield predictions_figure(predictions, scores), which, many


def _score_table(scores: pd.DataFrame) -> dict[str, Any]:
    regressors = [r for r in distinct(scores, "regressor") if r not in BASELINES]
    baselines = [b for b in BASELINES if b in distinct(scores, "regressor")]
    score_of = {(row["target"], row["split"], row["regressor"]): row for row in rows_of(scores)}
    scored = {row["target"] for row in rows_of(scores) if np.isfinite(row["r2"])}
    rows = []
    for target in [name for name in distinct(scores, "target") if name in scored]:
        for split in SPLITS:
            cells = {name: score_of.get((target, split, name)) for name in [*regressors, *baselines]}
            counts = [int(cell["n_test"]) for cell in cells.values() if cell is not None]
            if not counts:
                continue
            floor = max((_r2(cells[name]) for name in baselines), default=-np.inf)
            best = max((_r2(cells[name]) for name in regressors), default=-np.inf)
            kinds = {name: _kind(_r2(cells[name]), best, floor) for name in regressors}
            rows.append(
                {"target": target, "split": SPLIT_NAMES[split], "cells": cells, "kinds": kinds, "scored": max(counts)}
            )
    unscored = [name for name in distinct(scores, "target") if name not in scored]
    return {"regressors": regressors, "baselines": baselines, "rows": rows, "unscored": unscored}


def _r2(cell: dict[str, Any] | None) -> float:
    return float(cell["r2"]) if cell is not None and np.isfinite(cell["r2"]) else -np.inf


def _kind(r2: float, best: float, floor: float) -> str:
    """Classes of a regressor's score: weak if not above the best baseline, best if it leads its row."""
    return (" weak" if r2 <= floor else "") + (" best" if r2 == best and np.isfinite(r2) else "")


def _determined(inputs: ReportInputs) -> list[list[str]]:
    """For each form, the number of ratio curves, and of those on which each parameter is determined."""
    rows = []
    for form, frame in inputs.fits.items():
        ratio = where(frame, quantity="ratio")
        if len(ratio):
            counts = [
                f"{target_name(name)} {int(numbers(ratio, f'{name}_determined').sum())}"
                for name in FORMS[form].parameters
            ]
            rows.append([form_name(form), str(len(ratio)), ", ".join(counts)])
    return rows


def _first_of_each_recipe(which: list[Slice]) -> list[Slice]:
    first: dict[str, Slice] = {}
    for candidate in which:
        first.setdefault(candidate[0], candidate)
    return list(first.values())
