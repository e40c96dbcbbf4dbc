"""Sections 1 to 3: headline and models, trajectories, maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pandas as pd

from massact.report.embed import Embedder
from massact.report.frames import layers_of, numbers, rows_of, where
from massact.report.headline import Headline
from massact.report.inputs import ReportInputs, TrainingRun, architecture_of, form_name, of_run, runs_of, target_name
from massact.report.markup import MISSING, Html, fixed, items, join, number, paragraph, plural, table, tag
from massact.report.plot_trajectories import RUNS_PER_MAP, chunks, heatmap_figure, trajectories_figure

MANY_LAYERS = 12
REGIME_WORDS = (
    "Plateau seen: the curve has levelled off by the last step. Peak without plateau: it falls after a maximum but has "
    "not levelled off. Log rise: neither a clear peak nor a plateau; its later course is unknown. Disputed: the fitted "
    "curve levels off, but the last measured values, or other forms that fit equally well, contradict this. Flat: a "
    "constant describes the points at least as well."
)


def missing(what: str, command: str = "dvc repro") -> Html:
    """The sentence of a section without input."""
    return paragraph(f"{what} Make them with: ", tag("code", command), ".", class_="missing")


def headline_section(inputs: ReportInputs, numbers: Headline) -> Html:
    """Section 1: numbers, warnings about checkpoints, the table of models."""
    return join([_tiles(numbers), _suspects(inputs), _models(inputs)])


def trajectories_section(inputs: ReportInputs, embed: Embedder) -> Html:
    """Section 2: the curves of every layer and run."""
    runs = inputs.runs
    if not runs:
        return missing("There are no trajectories yet.")
    named, figures = inputs.named, []
    for group in chunks(runs):
        sequences = int(min(numbers(of_run(inputs.trajectories, run), "n_sequences").min() for run in group))
        band = (
            "With one probe sequence there is no band: how much another text would change these curves is unknown."
            if sequences < 2
            else f"Bands are 95 % intervals over {sequences} probe sequences. They show the effect of the text, "
            "not of another training seed."
        )
        figures.append(
            embed.figure(
                trajectories_figure(inputs.trajectories, group, named),
                "Curves over training steps of the ratio, the largest activation and the median, one line per layer: "
                + ", ".join(named[run] for run in group)
                + ".",
                f"What to look for: when each layer starts to change, whether it peaks, and where top-1 departs from "
                f"the median. {band} All figures of one recipe share the scales of each column. The "
                "step axis is logarithmic, and linear below step 1 so that step 0 can be shown.",
            )
        )
    return join([_recipes(runs), *figures])


def heatmap_section(inputs: ReportInputs, embed: Embedder) -> Html:
    """Section 3: step x layer."""
    runs, named = runs_of(where(inputs.trajectories, quantity="ratio")), inputs.named
    if not runs:
        return missing("There are no ratios yet.")
    return join(
        embed.figure(
            heatmap_figure(inputs.trajectories, group, named),
            "Maps of the ratio by training step and layer for " + ", ".join(named[run] for run in group) + ".",
            "Ratio by step and layer, with layer 0 (the first block) at the bottom. What to look for: at which depth "
            "the spike appears first and where it persists. Each cell reaches halfway to the next checkpoint: wide "
            "cells mean few measurements, not slow change.",
        )
        for group in chunks(runs, RUNS_PER_MAP)
    )


def _tiles(numbers: Headline) -> Html:
    best, top = numbers.best_held_out, numbers.max_ratio
    r2 = numbers.median_r2
    leader = max(r2, key=lambda form: r2[form]) if r2 else None
    tiles = [
        (
            "measured",
            plural(numbers.models, "model"),
            f"{numbers.checkpoints:,} checkpoints, {numbers.layers:,} layer curves",
        ),
        (
            "largest ratio",
            number(top.value if top else None),
            f"{top.model}, layer {top.layer}, step {top.step:,}" if top else "nothing measured yet",
        ),
        (
            "median R² of ratio curves",
            number(r2[leader]) if leader else MISSING,
            ", ".join(f"{form_name(form)} {number(value)}" for form, value in r2.items()) or "nothing fitted yet",
        ),
        (
            "best R² on architectures held out",
            fixed(best.r2) if best else MISSING,
            f"{target_name(best.target)} of {best.quantity} by {best.regressor.replace('_', ' ')}; best baseline "
            f"{fixed(best.baseline)}; {plural(best.n_architectures, 'architecture')}; the best of "
            f"{plural(best.n_candidates, 'score')}, and so optimistic"
            if best
            else "nothing scored yet",
        ),
    ]
    return tag(
        "div",
        *(tag("div", tag("span", name), tag("strong", value), tag("small", note)) for name, value, note in tiles),
        class_="tiles",
    )


def _suspects(inputs: ReportInputs) -> Html:
    if not inputs.suspects:
        return Html("")
    count = len(inputs.suspects)
    verb = "is not what it claims" if count == 1 else "are not what they claim"
    where = (
        "A checkpoint marked “not measured” is in no curve below. Any other is drawn, and left out of the fits "
        "unless fit.suspects=true."
    )
    return tag(
        "aside",
        paragraph(tag("b", f"{plural(count, 'checkpoint')} {verb} or could not be measured."), f" {where}"),
        items(inputs.suspects),
    )


def _models(inputs: ReportInputs) -> Html:
    runs = inputs.runs
    if not runs:
        return missing("There are no measurements yet.", "make repro")
    named = inputs.named
    header = [
        "model",
        "recipe",
        "layers",
        "width",
        "heads",
        "MLP",
        "ratio at the last step, layer by layer",
        "spike at the last step",
        "shape of the ratio curves",
    ]
    rows = []
    for run in runs:
        shape = architecture_of(inputs, run)
        numbers = [number(shape.get(name)) for name in ("n_layers", "d_model", "n_heads", "d_mlp")]
        rows.append(
            [named[run], run.recipe, *numbers, _end_ratios(inputs, run), _spike(inputs, run), _shapes(inputs, run)]
        )
    note = paragraph(
        "The spike is the largest |h| of the layer with the highest ratio. The table gives its position in the "
        "sequence and its dimension in the residual stream, with the number of probe sequences that agree. The shape "
        f"is that of the fit of {form_name(inputs.main_form or 'eq9')} within the trained range. Early peak: the "
        f"maximum lies inside that range. {REGIME_WORDS}",
        class_="note",
    )
    return join([table(header, rows, words=(0, 1, 6, 7, 8)), note])


def _end_ratios(inputs: ReportInputs, run: TrainingRun) -> str:
    rows = where(of_run(inputs.trajectories, run), quantity="ratio")
    if rows.empty:
        return MISSING
    end = where(rows, step=rows["step"].max()).sort_values("layer")
    layers, values = layers_of(end), numbers(end, "value")
    if len(values) <= MANY_LAYERS:
        return " · ".join(map(number, values))
    top, middle = int(np.argmax(values)), len(values) // 2
    return (
        f"{number(values[0])} (first) · {number(values[middle])} (layer {layers[middle]}) · "
        f"{number(values[-1])} (last); largest {number(values[top])} at layer {layers[top]}"
    )


def _spike(inputs: ReportInputs, run: TrainingRun) -> str:
    rows = of_run(inputs.records, run)
    if rows.empty:
        return MISSING
    end = where(rows, step=rows["step"].max())
    ratios = {layer: _ratio(where(end, layer=layer)) for layer in layers_of(end)}
    layer = max(ratios, key=lambda at: ratios[at])
    at = where(end, layer=layer)
    return _unbroken([f"layer {layer}", _agreed(at, "token"), _agreed(at, "dimension")])


def _ratio(rows: pd.DataFrame) -> float:
    return float(numbers(rows, "top1").mean() / max(numbers(rows, "median").mean(), np.finfo(float).tiny))


def _agreed(rows: pd.DataFrame, noun: str) -> str:
    counts = Counter(int(value) for value in rows[f"{noun}1"])
    place, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    if place < 0:  # as in the published tables
        return f"{noun} unknown"
    if len(counts) > 1 and list(counts.values()).count(count) > 1:  # none is the most frequent
        return f"{len(counts)} different {noun}s in {len(rows)} sequences"
    return f"{noun} {place} ({count}/{len(rows)})"


def _shapes(inputs: ReportInputs, run: TrainingRun) -> str:
    form = inputs.main_form
    rows = [] if form is None else rows_of(where(of_run(inputs.fits[form], run), quantity="ratio"))
    if not rows:
        return MISSING
    return counted(
        Counter("early peak" if row["peak_determined"] else str(row["regime"]) for row in rows),
        f"/{len(rows)}",
    )


def _unbroken(parts: Iterable[str]) -> Html:
    """A list that breaks lines only between its parts."""
    return join((tag("span", part, class_="whole") for part in parts), ", ")


def counted(kinds: Counter[str], of: str = "") -> Html:
    """Kinds with their counts, the most frequent first."""
    order = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    return _unbroken(f"{kind.replace('_', ' ')} {count}{of}" for kind, count in order)


def _recipes(runs: list[TrainingRun]) -> Html:
    recipes = sorted({run.recipe for run in runs})
    if len(recipes) < 2:
        return Html("")
    return paragraph(
        f"{len(recipes)} training recipes are shown ({', '.join(recipes)}). Their steps are not comparable: "
        "compare shapes across recipes, not steps.",
        class_="note",
    )
