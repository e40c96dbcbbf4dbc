"""The report: figures and one self-contained page."""

from massact.report.headline import Headline
from massact.report.inputs import ReportInputs
from massact.report.page import build_report, save_figures

__all__ = ["Headline", "ReportInputs", "build_report", "save_figures"]
