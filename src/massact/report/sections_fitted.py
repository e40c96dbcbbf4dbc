"""Sections 4 and 5: curve fits and their quality. Each function returns its template's data."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from massact.report.formats import form_name, number
from massact.report.frames import median, numbers, rows_of, where, words
from massact.report.inputs import ReportInputs, runs_of
from massact.report.plot_fits import overlay_figure, r2_figure
from massact.report.sections_measured import counted
from massact.trajectories.schemas import QUANTITIES

MOST_OVERLAYS = 12
TIE = 0.1  # AICc units; forms this close count as equal
CURVE = ["family", "recipe", "model", "seed", "layer"]


def overlays_section(inputs: ReportInputs) -> dict[str, Any]:
    """Section 4: fitted curves over measured points, with residuals below."""
    fitted = {run for frame in inputs.fits.values() for run in runs_of(where(frame, quantity="ratio"))}
    runs = [run for run in runs_of(where(inputs.trajectories, quantity="ratio")) if run in fitted]
    named = inputs.named
    return {
        "measured": bool(inputs.trajectories.size),
        "figures": (
            (overlay_figure(inputs.trajectories, inputs.fits, run), named[run]) for run in runs[:MOST_OVERLAYS]
        ),
        "omitted": [named[run] for run in runs[MOST_OVERLAYS:]],
    }


def quality_section(inputs: ReportInputs) -> dict[str, Any]:
    """Section 5: R2 by layer, and a table by form."""
    runs = sorted({run for frame in inputs.fits.values() for run in runs_of(where(frame, quantity="ratio"))})
    return {
        "drawing": r2_figure(inputs.fits, runs, inputs.named, "ratio") if runs else None,
        "tie": TIE,
        "rows": [
            _quality_row(rows, quantity, form, wins(inputs, quantity)[form])
            for quantity in QUANTITIES
            for form, frame in inputs.fits.items()
            if len(rows := where(frame, quantity=quantity))
        ],
    }


def wins(inputs: ReportInputs, quantity: str) -> dict[str, int]:
    """Number of curves for which each form has the lowest AICc. Ties within `TIE` count for each form."""
    curves: dict[tuple[Any, ...], dict[str, float]] = {}
    for form, frame in inputs.fits.items():
        for row in rows_of(where(frame, quantity=quantity)):
            if np.isfinite(row["aicc"]):
                curves.setdefault(tuple(row[name] for name in CURVE), {})[form] = float(row["aicc"])
    won = dict.fromkeys(inputs.fits, 0)
    for aicc in curves.values():
        for form, value in aicc.items():
            won[form] += value <= min(aicc.values()) + TIE
    return won


def _quality_row(rows: pd.DataFrame, quantity: str, form: str, won: int) -> list[str | list[str]]:
    r2 = numbers(rows, "r2")
    regimes = Counter(words(rows, "regime"))
    return [
        quantity,
        form_name(form),
        str(len(rows)),
        number(median(r2)),
        str(int((r2 >= 0.95).sum())),
        str(won),
        counted(regimes),
    ]
