"""The report: figures and one self-contained page."""

from massact.report.headline import Headline
from massact.report.inputs import ReportInputs
from massact.report.page import build_report, save_figures
from massact.report.plot_fits import overlay_figure, r2_figure
from massact.report.plot_trajectories import heatmap_figure, trajectories_figure

__all__ = [
    "Headline",
    "ReportInputs",
    "build_report",
    "heatmap_figure",
    "overlay_figure",
    "r2_figure",
    "save_figures",
    "trajectories_figure",
]
