"""Sections 4 and 5: curve fits and their quality."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from massact.report.embed import Embedder
from massact.report.frames import median, numbers, rows_of, where, words
from massact.report.inputs import ReportInputs, form_name, runs_of
from massact.report.markup import Html, join, number, paragraph, table
from massact.report.plot_fits import overlay_figure, r2_figure
from massact.report.sections_measured import REGIME_WORDS, counted, missing
from massact.trajectories.schemas import QUANTITIES

MOST_OVERLAYS = 12
TIE = 0.1  # AICc units; forms this close count as equal
_READING = (
    "Below: measured minus fitted values, scaled to the best form; worse forms leave the panel. What to look for: a "
    "run of residuals on one side of zero means that the form has the wrong shape there, whatever its R². Outside the "
    "grey band the error of a curve is larger than the probe text explains. What not to trust: a curve beyond the last "
    "point."
)
CURVE = ["family", "recipe", "model", "seed", "layer"]


def overlays_section(inputs: ReportInputs, embed: Embedder) -> Html:
    """Section 4: fitted curves over measured points, with residuals below."""
    fitted = {run for frame in inputs.fits.values() for run in runs_of(where(frame, quantity="ratio"))}
    runs = [run for run in runs_of(where(inputs.trajectories, quantity="ratio")) if run in fitted]
    named = inputs.named
    if not runs:
        return missing("There are no fits yet." if inputs.trajectories.size else "There are no measured points yet.")
    figures = [
        embed.figure(
            overlay_figure(inputs.trajectories, inputs.fits, run),
            f"Measured ratio of the first, middle and last layer of {named[run]} with fitted curves, residuals below.",
            f"{named[run]}: ratio of the first, middle and last layer. " + (_READING if run == runs[0] else ""),
        )
        for run in runs[:MOST_OVERLAYS]
    ]
    rest = runs[MOST_OVERLAYS:]
    left_out = f"Omitted to keep the page small: {', '.join(named[run] for run in rest)}." if rest else ""
    return join([*figures, paragraph(left_out, class_="note") if rest else ""])


def quality_section(inputs: ReportInputs, embed: Embedder) -> Html:
    """Section 5: R2 by layer, and a table by form."""
    if not inputs.fits:
        return missing("There are no fits yet.")
    runs = sorted({run for frame in inputs.fits.values() for run in runs_of(where(frame, quantity="ratio"))})
    parts = []
    if runs:
        parts.append(
            embed.figure(
                r2_figure(inputs.fits, runs, inputs.named, "ratio"),
                "R squared of every fitted form at each layer, one panel per model.",
                "R² of the ratio curves by layer, on a scale that spreads values near 1: each further 9 "
                "takes the same space. A triangle at the bottom marks R² below zero. What not to trust: R² is "
                "dominated by large values, so a curve that misses only the early rise still has a high R².",
            )
        )
    header = ["quantity", "form", "curves", "median R²", "R² ≥ 0.95", "AICc wins", "regimes"]
    rows = [
        _quality_row(frame, quantity, form, wins(inputs, quantity)[form])
        for quantity in QUANTITIES
        for form, frame in inputs.fits.items()
        if len(where(frame, quantity=quantity))
    ]
    note = paragraph(
        f"AICc wins: curves for which no other form has an AICc lower by more than {TIE}. Eq. 9 and Eq. 14 are two "
        "parametrisations of the same family of curves, so they win together. A regime describes the curve within the "
        f"trained range. {REGIME_WORDS} Failed: the fit found no curve.",
        class_="note",
    )
    return join([*parts, table(header, rows, words=(0, 1, 6)), note])


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


def _quality_row(frame: pd.DataFrame, quantity: str, form: str, won: int) -> list[str | Html]:
    rows = where(frame, quantity=quantity)
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
