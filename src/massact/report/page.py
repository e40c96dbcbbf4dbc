"""The page: all sections in one file that needs no network."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from math import ceil
from pathlib import Path
from string import Template

from matplotlib.figure import Figure

from massact.disk import write_text
from massact.report.embed import Embedder, save_png
from massact.report.frames import where
from massact.report.headline import Headline, headline
from massact.report.inputs import ReportInputs, of_slice, runs_of, slices
from massact.report.markup import Html, join, paragraph, tag
from massact.report.plot_fits import overlay_figure, r2_figure
from massact.report.plot_predictions import best_regressors, predictions_figure
from massact.report.plot_trajectories import RUNS_PER_FIGURE, RUNS_PER_MAP, chunks, heatmap_figure, trajectories_figure
from massact.report.sections_fitted import MOST_OVERLAYS, overlays_section, quality_section
from massact.report.sections_measured import headline_section, heatmap_section, trajectories_section
from massact.report.sections_method import method_section
from massact.report.sections_predicted import predictions_section, scores_section

PAGE_BYTES = 5_000_000  # limit for all figures together
LARGEST_FIGURE = 700_000
_PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
$style
</style>
</head>
<body>
<header>$header</header>
<main>
$body
</main>
</body>
</html>
"""
)


def build_report(inputs: ReportInputs, path: Path) -> Headline:
    """Write the page atomically. The same inputs give the same bytes.

    Returns
    -------
    The headline numbers. `.lines()` formats them for the terminal.

    Raises
    ------
    TableError
        A non-empty table that violates its schema. Empty tables are no error; their section says so.
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
    sections = [
        ("headline", "Headline", headline_section(inputs, numbers)),
        ("trajectories", "Trajectories", trajectories_section(inputs, embed)),
        ("maps", "Maps of step and layer", heatmap_section(inputs, embed)),
        ("fits", "Fits and residuals", overlays_section(inputs, embed)),
        ("quality", "How well the forms fit", quality_section(inputs, embed)),
        ("predictions", "Predicted against fitted", predictions_section(inputs, embed)),
        ("scores", "Scores", scores_section(inputs)),
        ("method", "Method and provenance", method_section(inputs, embed)),
    ]
    links = (tag("a", f"{at} {title}", href=f"#{name}") for at, (name, title, _) in enumerate(sections, 1))
    header = join(
        [
            tag("h1", "Massive activations over training"),
            paragraph(_subtitle(inputs), class_="subtitle"),
            tag("nav", *links, aria_label="Sections"),
        ]
    )
    body = join(
        (
            tag("section", tag("h2", tag("span", str(at)), f" {title}"), content, id=name)
            for at, (name, title, content) in enumerate(sections, 1)
        ),
        "\n",
    )
    style = Html(files("massact.report").joinpath("style.css").read_text(encoding="utf-8").strip())
    return _PAGE.substitute(title="Massive activations over training", style=style, header=header, body=body)


def _subtitle(inputs: ReportInputs) -> str:
    named = [inputs.named[run] for run in inputs.runs]
    if not named:
        return "When the largest hidden activations appear, how they grow, and what follows from the architecture."
    shown = ", ".join(named[:8]) + (f" and {len(named) - 8} more" if len(named) > 8 else "")
    return (
        f"When the largest hidden activations appear, how they grow, and what follows from the architecture: {shown}."
    )


def _figures_expected(inputs: ReportInputs) -> int:
    runs = len(inputs.runs)
    return ceil(runs / RUNS_PER_FIGURE) + ceil(runs / RUNS_PER_MAP) + min(runs, MOST_OVERLAYS) + 4


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
