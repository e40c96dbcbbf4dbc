"""Figures for MLflow runs, drawn when a run is logged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd


def of_model(trajectories: pd.DataFrame) -> Callable[[Path], object]:
    """Draw one model's trajectories (schema TRAJECTORIES): curves by step, and maps by step and layer."""

    def draw(folder: Path) -> None:
        from massact.report import ReportInputs, save_figures

        save_figures(ReportInputs(trajectories=trajectories), folder)

    return draw


def of_fits(trajectories: pd.DataFrame) -> Callable[[str, pd.DataFrame], Callable[[Path], object] | None]:
    """Draw measured points, fitted curves and residuals for a form and one model's fits, if the model was measured."""

    def figures(form: str, fits: pd.DataFrame) -> Callable[[Path], object] | None:
        def draw(folder: Path) -> None:
            from massact.report.embed import save_png
            from massact.report.inputs import runs_of
            from massact.report.plot_fits import overlay_figure

            save_png(overlay_figure(trajectories, {form: fits}, runs_of(fits)[0]), folder / "fits.png")

        return draw if _measured(trajectories, fits.iloc[0].to_dict()) else None

    return figures


def _measured(trajectories: pd.DataFrame, fit: Mapping[str, object]) -> bool:
    at = trajectories["quantity"] == "ratio"
    for name in ("family", "recipe", "model", "seed"):
        at &= trajectories[name] == fit[name]
    return bool(at.any())
