"""Sections 1 to 3: headline and models, trajectories, maps. Each function returns its template's data."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from massact.report.formats import MISSING, number, spaced
from massact.report.frames import layers_of, numbers, rows_of, where
from massact.report.headline import Headline
from massact.report.inputs import ReportInputs, TrainingRun, architecture_of, of_run, runs_of
from massact.report.plot_trajectories import RUNS_PER_MAP, chunks, heatmap_figure, trajectories_figure

MANY_LAYERS = 12


def headline_section(inputs: ReportInputs, numbers: Headline) -> dict[str, Any]:
    """Section 1: numbers, warnings about checkpoints, the table of models."""
    named = inputs.named
    return {
        "numbers": numbers,
        "suspects": inputs.suspects,
        "models": [_model_row(inputs, run, named[run]) for run in inputs.runs],
        "form": inputs.main_form or "eq9",
    }


def trajectories_section(inputs: ReportInputs) -> dict[str, Any]:
    """Section 2: the curves of every layer and run."""
    runs, named, frame = inputs.runs, inputs.named, inputs.trajectories
    return {
        "recipes": sorted({run.recipe for run in runs}),
        "figures": (
            (
                trajectories_figure(frame, group, named),
                [named[run] for run in group],
                int(min(numbers(of_run(frame, run), "n_sequences").min() for run in group)),
            )
            for group in chunks(runs)
        ),
    }


def heatmap_section(inputs: ReportInputs) -> dict[str, Any]:
    """Section 3: step x layer."""
    runs, named = runs_of(where(inputs.trajectories, quantity="ratio")), inputs.named
    return {
        "figures": (
            (heatmap_figure(inputs.trajectories, group, named), [named[run] for run in group])
            for group in chunks(runs, RUNS_PER_MAP)
        )
    }


def _model_row(inputs: ReportInputs, run: TrainingRun, name: str) -> list[str | list[str]]:
    shape = architecture_of(inputs, run)
    sizes = [number(shape.get(size)) for size in ("n_layers", "d_model", "n_heads", "d_mlp")]
    return [name, run.recipe, *sizes, _end_ratios(inputs, run), _spike(inputs, run), _shapes(inputs, run)]


def _end_ratios(inputs: ReportInputs, run: TrainingRun) -> str:
    rows = where(of_run(inputs.trajectories, run), quantity="ratio")
    if rows.empty:
        return MISSING
    end = where(rows, step=rows["step"].max()).sort_values("layer")
    layers, values = layers_of(end), numbers(end, "value")
    if len(values) <= MANY_LAYERS:
        return " · ".join(map(number, values))
    top, middle = int(np.argmax(values)), len(values) // 2
    return (
        f"{number(values[0])} (first) · {number(values[middle])} (layer {layers[middle]}) · "
        f"{number(values[-1])} (last); largest {number(values[top])} at layer {layers[top]}"
    )


def _spike(inputs: ReportInputs, run: TrainingRun) -> str | list[str]:
    rows = of_run(inputs.records, run)
    if rows.empty:
        return MISSING
    end = where(rows, step=rows["step"].max())
    ratios = {layer: _ratio(where(end, layer=layer)) for layer in layers_of(end)}
    layer = max(ratios, key=lambda at: ratios[at])
    at = where(end, layer=layer)
    return [f"layer {layer}", _agreed(at, "token"), _agreed(at, "dimension")]


def _ratio(rows: pd.DataFrame) -> float:
    return float(numbers(rows, "top1").mean() / max(numbers(rows, "median").mean(), np.finfo(float).tiny))


def _agreed(rows: pd.DataFrame, noun: str) -> str:
    counts = Counter(int(value) for value in rows[f"{noun}1"])
    place, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    if place < 0:  # as in the published tables
        return f"{noun} unknown"
    if len(counts) > 1 and list(counts.values()).count(count) > 1:  # none is the most frequent
        return f"{len(counts)} different {noun}s in {len(rows)} sequences"
    return f"{noun} {place} ({count}/{len(rows)})"


def _shapes(inputs: ReportInputs, run: TrainingRun) -> str | list[str]:
    form = inputs.main_form
    rows = [] if form is None else rows_of(where(of_run(inputs.fits[form], run), quantity="ratio"))
    if not rows:
        return MISSING
    return counted(
        Counter("early peak" if row["peak_determined"] else str(row["regime"]) for row in rows),
        f"/{len(rows)}",
    )


def counted(kinds: Counter[str], of: str = "") -> list[str]:
    """Kinds with their counts, the most frequent first."""
    order = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    return [f"{spaced(kind)} {count}{of}" for kind, count in order]
