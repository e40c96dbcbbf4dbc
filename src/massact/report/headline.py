"""The headline numbers of the page and the terminal."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from massact.report.formats import fixed, form_name, number, plural, spaced, target_name
from massact.report.frames import median, numbers, rows_of, where
from massact.report.inputs import BASELINES, RUN, ReportInputs, TrainingRun, of_slice, slices


@dataclass(frozen=True)
class MaxRatio:
    """The largest ratio of top-1 to median (unitless), with its model, layer and step."""

    value: float
    model: str
    layer: int
    step: int

    def __str__(self) -> str:
        return f"{number(self.value)} ({self.model}, layer {self.layer}, step {self.step:,})"


@dataclass(frozen=True)
class HeldOut:
    """The best R2 with whole architectures held out. As the best of many scores, it is optimistic.

    `baseline` is the better of predicting the mean and copying the nearest architecture (NaN if neither was scored).
    """

    target: str
    quantity: str
    regressor: str
    r2: float
    baseline: float
    n_architectures: int
    n_candidates: int

    def __str__(self) -> str:
        return (
            f"{fixed(self.r2)} ({target_name(self.target)} of {self.quantity} by {spaced(self.regressor)}; "
            f"best baseline {fixed(self.baseline)}; {plural(self.n_architectures, 'architecture')})"
        )


@dataclass(frozen=True)
class Headline:
    """Counts, the largest ratio, each form's median R2 over the ratio curves, and the best held-out score.

    `layers` counts layer curves: the layers of all runs. `models` counts runs: seeds and recipes count separately.
    """

    models: int = 0
    checkpoints: int = 0
    layers: int = 0
    max_ratio: MaxRatio | None = None
    median_r2: dict[str, float] = field(default_factory=dict)
    best_held_out: HeldOut | None = None

    def lines(self) -> list[str]:
        """Lines for the terminal.

        >>> Headline().lines()[0]
        'measured: 0 models, 0 checkpoints, 0 layer curves'
        """
        r2 = ", ".join(f"{form_name(form)} {number(value)}" for form, value in self.median_r2.items())
        return [
            f"measured: {plural(self.models, 'model')}, {plural(self.checkpoints, 'checkpoint')}, "
            f"{plural(self.layers, 'layer curve')}",
            f"largest ratio: {self.max_ratio or 'nothing measured yet'}",
            f"median R2 of ratio curves: {r2 or 'nothing fitted yet'}",
            f"best R2 on held-out architectures: {self.best_held_out or 'nothing scored yet'}",
        ]


def headline(inputs: ReportInputs) -> Headline:
    """The headline numbers of validated inputs."""
    runs, frame = inputs.runs, inputs.trajectories
    if not runs:
        return Headline(median_r2=median_r2(inputs), best_held_out=_best_held_out(inputs.scores))
    return Headline(
        models=len(runs),
        checkpoints=int((~frame.duplicated([*RUN, "step"])).sum()),
        layers=int((~frame.duplicated([*RUN, "layer"])).sum()),
        max_ratio=_max_ratio(frame, inputs.named),
        median_r2=median_r2(inputs),
        best_held_out=_best_held_out(inputs.scores),
    )


def median_r2(inputs: ReportInputs, quantity: str = "ratio") -> dict[str, float]:
    """Median R2 over the curves of one quantity, by form. Forms without a finite R2 are omitted."""
    medians = {}
    for form, frame in inputs.fits.items():
        middle = median(numbers(where(frame, quantity=quantity), "r2"))
        if np.isfinite(middle):
            medians[form] = middle
    return medians


def _max_ratio(trajectories: pd.DataFrame, named: dict[TrainingRun, str]) -> MaxRatio | None:
    ratios = where(trajectories, quantity="ratio")
    if ratios.empty:
        return None
    row = rows_of(ratios)[int(np.argmax(numbers(ratios, "value")))]
    run = TrainingRun(str(row["family"]), str(row["recipe"]), str(row["model"]), int(row["seed"]))
    return MaxRatio(float(row["value"]), named[run], int(row["layer"]), int(row["step"]))


def _best_held_out(scores: pd.DataFrame) -> HeldOut | None:
    """The best score of the slice that the page shows first, where readers can check it."""
    if scores.empty:
        return None
    first = of_slice(scores, slices(scores)[0])
    held_out = [row for row in rows_of(where(first, split="architecture")) if np.isfinite(row["r2"])]
    candidates = [row for row in held_out if row["regressor"] not in BASELINES]
    if not candidates:
        return None
    row = max(candidates, key=lambda candidate: candidate["r2"])
    baselines = [b for b in held_out if b["regressor"] in BASELINES and b["target"] == row["target"]]
    return HeldOut(
        target=str(row["target"]),
        quantity=str(row["quantity"]),
        regressor=str(row["regressor"]),
        r2=float(row["r2"]),
        baseline=max((float(b["r2"]) for b in baselines), default=float("nan")),
        n_architectures=int(row["n_architectures"]),
        n_candidates=len(candidates),
    )
