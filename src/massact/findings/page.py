"""The tables of a suite's findings, as Markdown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from massact.errors import FitError
from massact.findings.outcomes import FACTORS, OUTCOMES, design_rows, effects, ladder_outcomes, ladders, outcomes, slope
from massact.findings.variance import balanced, components, end_by_sequence, noise_ceiling

GOOD_R2 = 0.95
HEAD = "| what | how much |"  # by which a page of findings is known


def findings_page(
    records: pd.DataFrame, architectures: pd.DataFrame, trajectories: pd.DataFrame, fits: pd.DataFrame
) -> str:
    """What was trained, the factors' effects, ladders, variance components and fits, one table each.

    Parameters
    ----------
    records, architectures, trajectories
        Schemas RECORDS, ARCHITECTURES and TRAJECTORIES, of one suite.
    fits
        A fits table of the suite's trainings.

    Raises
    ------
    FitError
        Too few finished trainings.
    """
    found = outcomes(trajectories)
    parts = [
        _counts(records, architectures, found),
        _effects(found, architectures),
        *(_ladder(found, architectures, part) for part in ladders(architectures)),
        _variance(records, found, architectures),
        _fits(fits),
    ]
    return "\n\n".join(parts) + "\n"


def _counts(records: Any, architectures: Any, found: pd.DataFrame) -> str:
    grid: Any = architectures[architectures["part"] == "grid"]
    seeds: Any = grid.groupby("model")["seed"].nunique()
    joined = found.merge(architectures[architectures["status"] == "done"], on=["model", "seed"])
    per_model: Any = joined[joined["part"] == "grid"].groupby("model")["end_ratio"].mean()
    rows = [
        ("trainings", len(architectures)),
        ("of them done / diverged / failed", _statuses(architectures)),
        ("architectures of the design", len(seeds)),
        ("of them with 3 seeds or more", int((seeds >= 3).sum())),
        ("layers measured, all trainings", records.groupby(["model", "seed"])["layer"].nunique().sum()),
        ("steps measured per training", f"{architectures['measured_steps'].min()} of {architectures['steps'].max():,}"),
        ("sequences", int(architectures["sequences"].max())),
        ("records", f"{len(records):,}"),
        ("hours of training, one core", f"{architectures['seconds'].sum() / 3600:.1f}"),
        ("end ratio over the design: median (smallest to largest)", _spread(per_model)),
        (
            "architectures of the design with an end ratio above 30",
            f"{int((per_model > 30).sum())} of {len(per_model)}",
        ),
        ("of them with a layer that ends above 30 (seed 0)", f"{_layers_above(records, grid, 30)} of {len(seeds)}"),
        ("largest ratio of any layer at any step", f"{_largest(records):.0f}"),
    ]
    return _table(["what", "how much"], [[str(a), str(b)] for a, b in rows])


def _effects(found: pd.DataFrame, architectures: pd.DataFrame) -> str:
    x, logs = design_rows(found, architectures)
    said = {name: effects(x, logs[name].to_numpy()) for name in OUTCOMES}
    header = ["factor", *(f"{name.replace('_', ' ')} x (95 %), share" for name in OUTCOMES)]
    rows = []
    for at, (_, meaning) in enumerate(FACTORS.values()):
        cells = [said[name].iloc[at] for name in OUTCOMES]
        rows.append(
            [meaning, *(f"{c['times']:.2f} ({c['lower']:.2f} to {c['upper']:.2f}), {c['share']:.0%}" for c in cells)]
        )
    rows.append(["all factors together (R2)", *(f"{said[name].attrs['r2']:.2f}" for name in OUTCOMES)])
    return _table(header, rows)


def _ladder(found: pd.DataFrame, architectures: pd.DataFrame, part: str) -> str:
    rungs = ladder_outcomes(found, architectures, part)
    rows = [
        [
            f"{r['n_heads']:.0f}",
            f"{r['seeds']:.0f}",
            *(f"{r[name]:.1f} (x/ {np.exp(r[f'{name}_log_sd']):.2f})" for name in OUTCOMES),
        ]
        for _, r in rungs.iterrows()
    ]
    joined: Any = architectures[architectures["part"] == part].merge(found, on=["model", "seed"])
    doubling = []
    for name in OUTCOMES:
        s = slope(np.log2(joined["n_heads"].to_numpy(dtype=float)), np.log(joined[name].to_numpy(dtype=float)))
        doubling.append(f"{s['times']:.2f} ({s['lower']:.2f} to {s['upper']:.2f})")
    rows.append(["twice the heads multiplies by (95 %)", str(len(joined)), *doubling])
    header = ["heads", "seeds", *(f"{name.replace('_', ' ')} (x/ spread over seeds)" for name in OUTCOMES)]
    return _table(header, rows)


def _variance(records: Any, found: Any, architectures: Any) -> str:
    grid = set(architectures.loc[architectures["part"] == "grid", "model"])
    trainings = found[found["model"].isin(grid)]
    if (trainings.groupby("model").size() > 1).sum() < 2:
        return "Fewer than two architectures of the design have a second seed yet."
    values = balanced(end_by_sequence(records[records["model"].isin(grid)]))
    parts = components(values)
    total = sum(parts.values())
    rows = [[name, f"{value:.5f}", f"{value / total:.1%}"] for name, value in parts.items()]
    shape = f"{values.shape[0]} architectures x {values.shape[1]} seeds x {values.shape[2]} sequences"
    first = _table([f"variance of log end ratio ({shape})", "component", "share"], rows)
    ceilings = [
        [name.replace("_", " "), f"{noise_ceiling(np.log(trainings[name]), trainings['model']):.3f}"]
        for name in OUTCOMES
    ]
    return f"{first}\n\n" + _table(["largest R2 from the architecture alone (noise ceiling)", "R2"], ceilings)


def _fits(fits: pd.DataFrame) -> str:
    rows = []
    for quantity, table in fits.groupby("quantity"):
        good = (table["r2"] > GOOD_R2).mean()
        rows.append([str(quantity), str(len(table)), f"{good:.1%}", f"{table['r2'].median():.4f}", _regimes(table)])
    return _table(["quantity", "layers", f"R2 > {GOOD_R2}", "median R2", "regimes"], rows)


def _regimes(table: pd.DataFrame) -> str:
    return ", ".join(f"{count} {str(name).replace('_', ' ')}" for name, count in table["regime"].value_counts().items())


def _statuses(architectures: Any) -> str:
    counts = architectures["status"].value_counts()
    return " / ".join(str(int(counts.get(status, 0))) for status in ("done", "diverged", "failed"))


def _spread(values: pd.Series) -> str:
    if not len(values):
        raise FitError("no training of the design is done", "train the suite: python run.py stage=suite")
    return f"{values.median():.1f} ({values.min():.1f} to {values.max():.1f})"


def _layers_above(records: Any, grid: Any, least: float) -> int:
    """Architectures of which some layer's ratio of means ends above a value, in the training with seed 0."""
    mine = records[records["model"].isin(grid["model"]) & (records["seed"] == 0)]
    last = mine[mine["step"] == mine.groupby("model")["step"].transform("max")].groupby(["model", "layer"])
    return int(((last["top1"].mean() / last["median"].mean()).groupby("model").max() > least).sum())


def _largest(records: pd.DataFrame) -> float:
    groups: Any = records.groupby(["model", "seed", "step", "layer"])
    return float((groups["top1"].mean() / groups["median"].mean()).max())


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
