"""Accuracy of forecasts on architectures that were held out, and coverage of their bands.

    python benchmarks/forecast_accuracy.py             # the suite's recipe, 10 folds of design points
    python benchmarks/forecast_accuracy.py --folds 5

Each fold learns the basis, the hyperparameters, the residuals behind the bands and the covariance of deviations from
the other folds alone. All seeds of an architecture and all rungs of a ladder are in one fold. Intervals resample design
points.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from massact import Architecture
from massact.predict.bands import HOLDS, POINT, TRAINING, HeldOut, interval_score
from massact.predict.continuation import SCATTER, UNLIKELY
from massact.predict.curve_model import CurveModel
from massact.predict.curves import Curves, curves_of
from massact.predict.early import Deviations, after
from massact.predict.features import feature_matrix, layer_columns
from massact.tables import read_metadata, read_table
from massact.trajectories import RECORDS, aggregate

SUITE = Path(__file__).parents[1] / "data/trajectories/nano.parquet"
LEVELS = (0.5, 0.8, 0.9, 0.95)
FIRST = (0.0625, 0.1, 0.14, 0.25, 0.5)  # shares of the steps
RANK = 5


@dataclass
class Fold:
    """Predictions and half-widths of the rows of one fold."""

    rows: np.ndarray
    predicted: np.ndarray
    half: dict[tuple[str, float], np.ndarray] = field(default_factory=dict)
    early: dict[float, np.ndarray] = field(default_factory=dict)
    early_half: dict[float, np.ndarray] = field(default_factory=dict)
    unlikely: dict[float, list[bool]] = field(default_factory=dict)


def suite_curves() -> Curves:
    members = read_metadata(SUITE, ["members"])["members"]
    architectures = {member["model"]: Architecture(**member["architecture"]) for member in members}
    return curves_of(aggregate(read_table(SUITE, RECORDS)), architectures)


def held_out_fold(x: np.ndarray, layer: tuple[int, ...], curves: Curves, train: np.ndarray, test: np.ndarray) -> Fold:
    known, parallel = curves.subset(train), curves.rows["parallel_residual"].to_numpy(dtype=bool)
    model = CurveModel(rank=RANK, layer=layer).fit(x[train], known)
    residuals = known.log_values - model.held_out(known.design)
    held_out = HeldOut(residuals, known.training, known.design, parallel[train])
    fold = Fold(test, model.predict(x[test]))
    for holds in HOLDS:
        for level in LEVELS:
            widths = {layout: held_out.half_widths(level, holds, layout) for layout in (True, False)}
            fold.half[holds, level] = np.stack([widths[layout] for layout in parallel[test]])
    deviations = Deviations.of(curves.log_steps, residuals, known.design, scatter=SCATTER)
    for share in FIRST:
        measured = curves.steps <= share * curves.steps[-1]
        at, left = (
            curves.log_steps[measured],
            after(held_out, curves.log_steps, curves.log_steps[measured], scatter=SCATTER),
        )
        widths = {layout: left.half_widths(0.9, POINT, layout) for layout in (True, False)}
        fold.early_half[share] = np.stack([widths[layout] for layout in parallel[test]])
        conditioned, fold.unlikely[share] = np.empty_like(fold.predicted), []
        for training in np.unique(curves.training[test]):
            rows = curves.training[test] == training
            values = curves.log_values[test][rows][:, measured]
            conditioned[rows], p = deviations.condition(fold.predicted[rows], at, values)
            fold.unlikely[share].append(p < UNLIKELY)
        fold.early[share] = conditioned
    return fold


Draw = list[np.ndarray]  # the rows of each design point, as often as it was drawn


def with_interval(statistic: Callable[[Draw], float], design: np.ndarray, resamples: int = 500) -> str:
    """A statistic with a 95 % interval from resampled design points."""
    generator = np.random.default_rng(0)
    points = [np.flatnonzero(design == point) for point in np.unique(design)]
    values = [
        statistic([points[at] for at in generator.integers(len(points), size=len(points))]) for _ in range(resamples)
    ]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return f"{statistic(points):.3f} ({low:.3f} to {high:.3f})"


def r2(actual: np.ndarray, predicted: np.ndarray) -> Callable[[Draw], float]:
    def of(draw: Draw) -> float:
        a, p = (values[np.concatenate(draw)] for values in (actual, predicted))
        return 1 - float(((a - p) ** 2).sum() / ((a - a.mean()) ** 2).sum())

    return of


def median(values: np.ndarray) -> Callable[[Draw], float]:
    return lambda draw: float(np.median(values[np.concatenate(draw)]))


def mean(values: np.ndarray) -> Callable[[Draw], float]:
    """The mean over rows, each design point weighing the same."""
    return lambda draw: float(np.mean([values[rows].mean() for rows in draw]))


def nearest_curves(
    x: np.ndarray, layer: tuple[int, ...], curves: Curves, folds: list[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    from massact.predict.nearest import NearestArchitecture

    predicted = np.empty_like(curves.log_values)
    for train, test in folds:
        row = NearestArchitecture(layer=layer).fit(x[train], np.arange(len(train), dtype=float))
        spread = row._spread  # the rows, not their mean, are wanted
        for at in test:
            distance = (((x[train] - x[at]) / spread)[:, row._columns] ** 2).sum(axis=1)
            near = np.flatnonzero(distance <= distance.min() + 1e-9)
            depth = np.abs(x[train][near][:, layer[0]] - x[at, layer[0]])
            predicted[at] = curves.log_values[train][near[depth <= depth.min() + 1e-9]].mean(axis=0)
    return predicted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, default=10)
    folds = parser.parse_args().folds
    curves = suite_curves()
    x, names = feature_matrix(curves.rows, "design")
    layer, design = layer_columns(names), curves.design
    splits = list(GroupKFold(folds, shuffle=True, random_state=0).split(x, groups=design))
    parts = [held_out_fold(x, layer, curves, train, test) for train, test in splits]
    actual, order = curves.log_values, np.argsort(np.concatenate([part.rows for part in parts]))

    def joined(of: Callable[[Fold], np.ndarray]) -> np.ndarray:
        return np.concatenate([of(part) for part in parts])[order]

    predicted = joined(lambda part: part.predicted)
    print(f"{len(np.unique(design))} design points, {len(np.unique(curves.training))} trainings, {len(actual)} curves")
    print("\n| log ratio | R2 | median absolute error |\n|---|---|---|")
    for name, pick in (("at the end", lambda v: v[:, -1]), ("largest", lambda v: v.max(axis=1))):
        error = np.abs(pick(actual) - pick(predicted))
        print(f"| {name} | {with_interval(r2(pick(actual), pick(predicted)), design)} | {np.median(error):.3f} |")
    depth = np.column_stack([np.ones(len(x)), x[:, layer[0]]])
    linear, flat = np.empty_like(actual), np.empty_like(actual)
    for train, test in splits:
        linear[test] = depth[test] @ np.linalg.lstsq(depth[train], actual[train], rcond=None)[0]
        flat[test] = actual[train].mean(axis=0)
    baselines = {
        "mean curve": flat,
        "linear in relative depth": linear,
        "nearest architecture": nearest_curves(x, layer, curves, splits),
    }
    print("\n| whole curves | median absolute log error |\n|---|---|")
    for name, value in {"forecast": predicted, **baselines}.items():
        error = np.abs(actual - value)
        print(f"| {name} | {with_interval(median(error), design)} |")
    parallel = curves.rows["parallel_residual"].to_numpy(dtype=bool)
    layouts = (parallel, ~parallel)
    print("\n| band | level | holds | parallel | sequential | upper / lower |\n|---|---|---|---|---|---|")
    for holds in HOLDS:
        for level in LEVELS:
            half = joined(lambda part, key=(holds, level): part.half[key])
            inside = np.abs(actual - predicted) <= half
            row = inside.mean(axis=1) if holds == POINT else inside.all(axis=1).astype(float)
            if holds == TRAINING:
                row = pd.Series(row).groupby(curves.training).transform("min").to_numpy()
            shares = [f"{np.mean([row[design == d].mean() for d in np.unique(design[at])]):.3f}" for at in layouts]
            text = with_interval(mean(row), design)
            print(f"| {holds} | {level:g} | {text} | {' | '.join(shares)} | {np.exp(2 * np.median(half)):.2f} |")
    score = interval_score(
        actual,
        predicted - joined(lambda part: part.half[POINT, 0.9]),
        predicted + joined(lambda part: part.half[POINT, 0.9]),
        0.9,
    )
    print(f"\ninterval score of 90 % point bands: {with_interval(mean(score), design)}")
    print(
        "\n| measured so far | error of the rest | without the measurements | last value | R2 of the end "
        "| 90 % bands hold | refused |\n|---|---|---|---|---|---|---|"
    )
    for share in FIRST:
        measured = curves.steps <= share * curves.steps[-1]
        early, half = (
            joined(lambda part, share=share: part.early[share]),
            joined(lambda part, share=share: part.early_half[share]),
        )
        error = np.abs(actual - early)[:, ~measured]
        last = np.abs(actual[:, ~measured] - actual[:, measured][:, -1:])
        inside = (error <= half[:, ~measured]).mean(axis=1)
        refused = np.concatenate([part.unlikely[share] for part in parts]).mean()
        cells = [
            f"{share:.1%} of the steps",
            f"{np.median(error):.3f}",
            f"{np.median(np.abs(actual - predicted)[:, ~measured]):.3f}",
            f"{np.median(last):.3f}",
            with_interval(r2(actual[:, -1], early[:, -1]), design),
            with_interval(mean(inside), design),
            f"{refused:.3f}",
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
