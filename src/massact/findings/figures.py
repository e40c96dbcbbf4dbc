"""Figures of a designed suite: the curve of each training, and the effect of a single factor."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from massact.findings.outcomes import ladder_outcomes, ladders, outcomes
from massact.plotting import FULL_WIDTH, MODEL_COLOURS, STYLE, new_figure, step_axis, value_axis


def suite_figures(trajectories: pd.DataFrame, architectures: pd.DataFrame) -> dict[str, bytes]:
    """All figures of a suite as PNG, by name: `trajectories`, and one per ladder.

    Parameters
    ----------
    trajectories, architectures
        Schemas TRAJECTORIES and ARCHITECTURES, of one suite.
    """
    measured = outcomes(trajectories)
    figures = {"trajectories": suite_figure(trajectories, architectures)}
    figures |= {part: ladder_figure(measured, architectures, part) for part in ladders(architectures)}
    return {name: _png(figure) for name, figure in figures.items()}


def suite_figure(trajectories: pd.DataFrame, architectures: pd.DataFrame) -> Figure:
    """Geometric mean of the ratio over layers against step, one line per training, coloured by width."""
    with mpl.rc_context(STYLE):
        figure = new_figure(FULL_WIDTH, 3.6)
        axes: Any = figure.subplots()
        ratio: Any = trajectories[trajectories["quantity"] == "ratio"]
        logs = np.log(ratio.set_index(["model", "seed", "step", "layer"])["value"])
        mean = np.exp(logs.groupby(["model", "seed", "step"]).mean())
        grid: Any = architectures[architectures["part"] == "grid"]
        norm = LogNorm(grid["d_model"].min(), grid["d_model"].max())
        colours = mpl.colormaps["viridis"]
        for row in grid.itertuples(index=False):
            if (row.model, row.seed) in mean.index.droplevel("step"):
                curve = mean.loc[row.model, row.seed]
                axes.plot(curve.index, curve, color=colours(norm(row.d_model)), lw=0.8, alpha=0.8)
        axes.set_yscale("log")
        value_axis(axes, float(mean.min()), float(mean.max()), wide=2.0)
        axes.set_ylabel("ratio top-1 / median, mean over layers")
        step_axis(axes, float(ratio["step"].max()), label=True)
        bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, pad=0.01)
        widths = [w for w in (48, 64, 96, 128, 192, 256, 512) if norm.vmin <= w <= norm.vmax]  # type: ignore[operator]
        bar.ax.yaxis.set_major_locator(FixedLocator(widths))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.ax.set_yticklabels([str(w) for w in widths])
        bar.set_label("width")
        axes.set_title(f"{len(grid)} trainings of {grid['model'].nunique()} architectures")
        return figure


def ladder_figure(outcomes: pd.DataFrame, architectures: pd.DataFrame, part: str) -> Figure:
    """The outcomes against the number of heads, one point per training, with a line through the means."""
    with mpl.rc_context(STYLE):
        figure = new_figure(FULL_WIDTH, 2.8)
        panels: Any = figure.subplots(1, 3)
        rungs = ladder_outcomes(outcomes, architectures, part)
        joined: Any = architectures[architectures["part"] == part].merge(outcomes, on=["model", "seed"])
        labels = {"end_ratio": "ratio at the end", "peak_ratio": "largest ratio", "onset_step": "onset, step"}
        for axes, (name, label) in zip(panels, labels.items(), strict=True):
            axes.plot(joined["n_heads"], joined[name], "o", ms=3.5, color=MODEL_COLOURS[0], alpha=0.6)
            axes.plot(rungs["n_heads"], rungs[name], color=MODEL_COLOURS[1], lw=1.2)
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_locator(FixedLocator(sorted(rungs["n_heads"])))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xticklabels([f"{h:.0f}" for h in sorted(rungs["n_heads"])])
            axes.set_xlabel("heads")
            axes.set_ylabel(label)
            axes.set_ylim(bottom=0)
        panels[0].set_title(f"{int(joined['n_layers'].iloc[0])} layers, width {int(joined['d_model'].iloc[0])}")
        return figure


def _png(figure: Figure) -> bytes:
    content = BytesIO()
    figure.savefig(content, format="png", dpi=160, facecolor="white")
    return content.getvalue()
