"""The page: all sections in one file that needs no network."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from math import ceil
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from massact.disk import write_text
from massact.report.embed import Embedder, save_png
from massact.report.frames import where
from massact.report.headline import Headline, headline
from massact.report.inputs import ReportInputs, of_slice, runs_of, slices
from massact.report.plot_fits import overlay_figure, r2_figure
from massact.report.plot_predictions import best_regressors, predictions_figure
from massact.report.plot_trajectories import RUNS_PER_FIGURE, RUNS_PER_MAP, chunks, heatmap_figure, trajectories_figure
from massact.report.render import render
from massact.report.sections_fitted import MOST_OVERLAYS, overlays_section, quality_section
from massact.report.sections_measured import headline_section, heatmap_section, trajectories_section
from massact.report.sections_method import method_section
from massact.report.sections_predicted import predictions_section, scores_section
from massact.report.sections_statistics import figures_expected, statistics_section

PAGE_BYTES = 5_000_000  # limit for all figures together
LARGEST_FIGURE = 700_000


def build_report(inputs: ReportInputs, path: Path) -> Headline:
    """Write the page atomically. Equal inputs give equal bytes.

    Returns
    -------
    The headline numbers. `.lines()` formats them for the terminal.

    Raises
    ------
    TableError
        A non-empty table violates its schema. An empty table is not an error; its section says so.
    OutputError, StorageError
        As in `massact.disk.write_text`.
    """
    inputs = inputs.checked()
    numbers = headline(inputs)
    page = _page(inputs, numbers)
    write_text(path, page)
    return numbers


def save_figures(inputs: ReportInputs, folder: Path) -> list[Path]:
    """Write the main figures as PNG into `folder` and return their paths. Figures without input are omitted."""
    return [save_png(figure, folder / f"{name}.png") for name, figure in _main_figures(inputs.checked())]


def _page(inputs: ReportInputs, numbers: Headline) -> str:
    embed = Embedder(min(LARGEST_FIGURE, PAGE_BYTES // _figures_expected(inputs)))
    sections = {
        "headline": headline_section(inputs, numbers),
        "trajectories": trajectories_section(inputs),
        "maps": heatmap_section(inputs),
        "fits": overlays_section(inputs),
        "quality": quality_section(inputs),
        "statistics": statistics_section(inputs),
        "predictions": predictions_section(inputs),
        "scores": scores_section(inputs),
        "method": method_section(inputs),
    }
    left_out = [*(() if inputs.predicted else ("predictions", "scores")), *(() if inputs.others else ("statistics",))]
    sections = {name: section for name, section in sections.items() if name not in left_out}
    style = Markup(files("massact.report").joinpath("style.css").read_text(encoding="utf-8").strip())
    named = inputs.named
    models = [named[run] for run in inputs.runs]
    return render("page.html.j2", style=style, models=models, sections=sections, embed=embed)


def _figures_expected(inputs: ReportInputs) -> int:
    runs = len(inputs.runs)
    of_magnitudes = ceil(runs / RUNS_PER_FIGURE) + ceil(runs / RUNS_PER_MAP) + min(runs, MOST_OVERLAYS) + 4
    return of_magnitudes + figures_expected(inputs)


def _main_figures(inputs: ReportInputs) -> Iterator[tuple[str, Figure]]:
    runs, named = inputs.runs, inputs.named
    ratio = runs_of(where(inputs.trajectories, quantity="ratio"))
    fitted = sorted({run for frame in inputs.fits.values() for run in runs_of(where(frame, quantity="ratio"))})
    for at, group in enumerate(chunks(runs), 1):
        yield f"trajectories-{at}", trajectories_figure(inputs.trajectories, group, named)
    for at, group in enumerate(chunks(ratio, RUNS_PER_MAP), 1):
        yield f"maps-{at}", heatmap_figure(inputs.trajectories, group, named)
    if set(ratio) & set(fitted):
        yield "fits", overlay_figure(inputs.trajectories, inputs.fits, min(set(ratio) & set(fitted)))
    if fitted:
        yield "r2", r2_figure(inputs.fits, fitted, named, "ratio")
    for which in slices(inputs.predictions)[:1]:
        scores = of_slice(inputs.scores, which)
        if best_regressors(scores):
            yield "predictions", predictions_figure(of_slice(inputs.predictions, which), scores)
