"""The tables of a suite's findings, as Markdown, by `templates/findings.md.j2`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from massact.errors import FitError
from massact.findings.outcomes import FACTORS, OUTCOMES, design_rows, effects, ladder_outcomes, ladders, outcomes, slope
from massact.findings.variance import balanced, components, end_by_sequence, noise_ceiling

GOOD_R2 = 0.95
HEAD = "| what | how much |"  # the first line of every page of findings


def findings_page(
    records: pd.DataFrame, architectures: pd.DataFrame, trajectories: pd.DataFrame, fits: pd.DataFrame
) -> str:
    """Tables of the trainings, the factors' effects, the ladders, the variance components and the fits.

    Parameters
    ----------
    records, architectures, trajectories
        Schemas RECORDS, ARCHITECTURES and TRAJECTORIES, of one suite.
    fits
        Fits of the suite's trainings.

    Raises
    ------
    FitError
        Too few trainings are finished.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # Markdown: nothing is escaped
        loader=PackageLoader("massact.findings"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    measured = outcomes(trajectories)
    x, logs = design_rows(measured, architectures)
    tables = [effects(x, logs[name].to_numpy()) for name in OUTCOMES]
    return environment.get_template("findings.md.j2").render(
        head=HEAD,
        outcomes=[name.replace("_", " ") for name in OUTCOMES],
        counts=_counts(records, architectures, measured),
        effects=[(meaning, [table.iloc[at] for table in tables]) for at, (_, meaning) in enumerate(FACTORS.values())],
        r2=[table.attrs["r2"] for table in tables],
        ladders=[_ladder(measured, architectures, part) for part in ladders(architectures)],
        variance=_variance(records, measured, architectures),
        good=GOOD_R2,
        fits=[_quality(str(quantity), table) for quantity, table in fits.groupby("quantity")],
    )


def _counts(records: Any, architectures: Any, measured: pd.DataFrame) -> dict[str, Any]:
    grid: Any = architectures[architectures["part"] == "grid"]
    seeds: Any = grid.groupby("model")["seed"].nunique()
    joined = measured.merge(architectures[architectures["status"] == "done"], on=["model", "seed"])
    end_ratios: Any = joined[joined["part"] == "grid"].groupby("model")["end_ratio"].mean()
    if not len(end_ratios):
        raise FitError("no training of the design is done", "train the suite: python run.py stage=suite")
    statuses = architectures["status"].value_counts()
    return {
        "trainings": len(architectures),
        "statuses": [int(statuses.get(status, 0)) for status in ("done", "diverged", "failed")],
        "architectures": len(seeds),
        "replicated": int((seeds >= 3).sum()),
        "layers": records.groupby(["model", "seed"])["layer"].nunique().sum(),
        "measured": architectures["measured_steps"].min(),
        "steps": architectures["steps"].max(),
        "sequences": int(architectures["sequences"].max()),
        "records": len(records),
        "hours": architectures["seconds"].sum() / 3600,
        "end_ratio": (end_ratios.median(), end_ratios.min(), end_ratios.max()),
        "above": int((end_ratios > 30).sum()),
        "finished": len(end_ratios),
        "layers_above": _layers_above(records, grid, 30),
        "largest": _largest(records),
    }


def _ladder(measured: pd.DataFrame, architectures: pd.DataFrame, part: str) -> dict[str, Any]:
    rungs = [
        {
            "heads": row["n_heads"],
            "seeds": row["seeds"],
            "outcomes": [(row[name], np.exp(row[f"{name}_log_sd"])) for name in OUTCOMES],
        }
        for row in ladder_outcomes(measured, architectures, part).to_dict("records")
    ]
    joined: Any = architectures[architectures["part"] == part].merge(measured, on=["model", "seed"])
    doublings = np.log2(joined["n_heads"].to_numpy(dtype=float))
    slopes = [slope(doublings, np.log(joined[name].to_numpy(dtype=float))) for name in OUTCOMES]
    return {"rungs": rungs, "trainings": len(joined), "slopes": slopes}


def _variance(records: Any, measured: Any, architectures: Any) -> dict[str, Any] | None:
    """Variance components and noise ceilings; None with fewer than two replicated architectures."""
    grid = set(architectures.loc[architectures["part"] == "grid", "model"])
    trainings = measured[measured["model"].isin(grid)]
    if (trainings.groupby("model").size() > 1).sum() < 2:
        return None
    values = balanced(end_by_sequence(records[records["model"].isin(grid)]))
    return {
        "shape": values.shape,
        "components": components(values),
        "ceilings": [noise_ceiling(np.log(trainings[name]), trainings["model"]) for name in OUTCOMES],
    }


def _quality(quantity: str, fits: pd.DataFrame) -> dict[str, Any]:
    return {
        "quantity": quantity,
        "layers": len(fits),
        "good": (fits["r2"] > GOOD_R2).mean(),
        "r2": fits["r2"].median(),
        "regimes": fits["regime"].value_counts().to_dict(),
    }


def _layers_above(records: Any, grid: Any, least: float) -> int:
    """Number of architectures with a layer whose ratio of means ends above `least`, in the training with seed 0."""
    rows = records[records["model"].isin(grid["model"]) & (records["seed"] == 0)]
    last = rows[rows["step"] == rows.groupby("model")["step"].transform("max")].groupby(["model", "layer"])
    return int(((last["top1"].mean() / last["median"].mean()).groupby("model").max() > least).sum())


def _largest(records: pd.DataFrame) -> float:
    groups: Any = records.groupby(["model", "seed", "step", "layer"])
    return float((groups["top1"].mean() / groups["median"].mean()).max())
