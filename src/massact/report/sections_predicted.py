"""Sections 6 and 7: predictions from the architecture, and how far to trust them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from massact.fit.forms import FORMS
from massact.predict.schemas import SPLITS
from massact.report.embed import Embedder
from massact.report.frames import distinct, numbers, rows_of, where
from massact.report.inputs import BASELINES, ReportInputs, Slice, form_name, of_slice, slices, target_name
from massact.report.markup import Html, fixed, folded, join, number, paragraph, plural, table, tag
from massact.report.plot_predictions import MOST_NAMED, SPLIT_NAMES, best_regressors, predictions_figure
from massact.report.sections_measured import missing

FEW = 10  # architectures; with fewer, a held-out score says little in general


def predictions_section(inputs: ReportInputs, embed: Embedder) -> Html:
    """Section 6: predicted against fitted values, one figure per recipe (Eq. 9's ratio if it was scored)."""
    if inputs.predictions.empty or inputs.scores.empty:
        return missing("There are no out-of-sample predictions yet.")
    figures = []
    for which in _first_of_each_recipe(slices(inputs.predictions)):
        scores, predictions = of_slice(inputs.scores, which), of_slice(inputs.predictions, which)
        if not best_regressors(scores):
            continue
        models = len(distinct(predictions, "model"))
        symbols = "one symbol per model" if models <= MOST_NAMED else "one dot per layer"
        figures.append(
            embed.figure(
                predictions_figure(predictions, scores),
                f"Predicted against fitted values of every target of {which[2]} for recipe {which[0]}, random split "
                "beside held-out architectures, with the line of equality.",
                f"{_slice_name(which)}: out-of-sample predictions of the best regressor for each target and split; the "
                f"line is perfect prediction, {symbols}, a cross on the frame is a prediction beyond it. What to "
                "look for: in the left panel of a pair the training set contains other layers of the same model, in "
                "the right one it does not. A regressor that is good only on the left has learnt the models, not the "
                "architecture. What not to trust: the regressor was chosen by the score shown.",
            )
        )
    return (
        join(figures)
        if figures
        else paragraph("No prediction has a finite score: too few rows were scored.", class_="missing")
    )


def scores_section(inputs: ReportInputs) -> Html:
    """Section 7: every score with its baselines."""
    if inputs.scores.empty:
        return missing("There are no scores yet.")
    which = slices(inputs.scores)
    architectures = int(numbers(inputs.scores, "n_architectures").max())
    first, rest = which[0], which[1:]
    return join(
        [
            _caution(architectures),
            tag("h3", _slice_name(first)),
            _score_table(of_slice(inputs.scores, first)),
            paragraph(
                "R² out of sample, on the original scale. Bold: the best regressor of a row. Grey: not better than the "
                "better baseline. Below zero, a prediction is worse than the mean of the test values. The baselines "
                "are the mean of the training values, and the nearest layer of the nearest training architecture.",
                class_="note",
            ),
            *(folded(_slice_name(other), _score_table(of_slice(inputs.scores, other))) for other in rest),
            _undetermined(inputs),
        ]
    )


def _caution(architectures: int) -> Html:
    counted = plural(architectures, "architecture")
    if architectures < 2:
        text = f"With {counted} nothing can be held out. Only the random split is left, and it says little."
    elif architectures < FEW:
        text = (
            f"With {counted}, scores on held-out architectures mean little: each is extrapolated from "
            f"at most {architectures - 1} others, and adding or removing one model can change every sign in the table. "
            "Read them as a check on the random split, which is optimistic because both sides share models."
        )
    else:
        text = (
            f"Scores rest on {counted}. The random split is optimistic because both sides share models. Trust the "
            "held-out split."
        )
    return tag("aside", paragraph(text))


def _score_table(scores: pd.DataFrame) -> Html:
    regressors = [r for r in distinct(scores, "regressor") if r not in BASELINES]
    baselines = [b for b in BASELINES if b in distinct(scores, "regressor")]
    header = ["target", "split", *(r.replace("_", " ") for r in regressors), *baselines, "rows scored"]
    score_of = {(row["target"], row["split"], row["regressor"]): row for row in rows_of(scores)}
    scored = {row["target"] for row in rows_of(scores) if np.isfinite(row["r2"])}
    rows = []
    for target in [name for name in distinct(scores, "target") if name in scored]:
        for split in SPLITS:
            cells = {name: score_of.get((target, split, name)) for name in [*regressors, *baselines]}
            if all(cell is None for cell in cells.values()):
                continue
            counts = [int(cell["n_test"]) for cell in cells.values() if cell is not None]
            floor = max((_r2(cells[name]) for name in baselines), default=-np.inf)
            best = max((_r2(cells[name]) for name in regressors), default=-np.inf)
            rows.append(
                [
                    target_name(target),
                    SPLIT_NAMES[split],
                    *(_score_cell(cells[name], best, floor) for name in regressors),
                    *(_score_cell(cells[name]) for name in baselines),
                    str(max(counts)),
                ]
            )
    return join([_unscored(scores, scored), table(header, rows, words=(0, 1)) if rows else ""])


def _unscored(scores: pd.DataFrame, scored: Collection[str]) -> Html:
    """The targets without a score, and the reason."""
    names = [target_name(name) for name in distinct(scores, "target") if name not in scored]
    if not names:
        return Html("")
    return paragraph(
        f"No score for {', '.join(names)}: too few curves determine them (see “Undetermined parameters” below).",
        class_="note",
    )


def _r2(cell: dict[str, Any] | None) -> float:
    return float(cell["r2"]) if cell is not None and np.isfinite(cell["r2"]) else -np.inf


def _score_cell(cell: dict[str, Any] | None, best: float | None = None, floor: float = -np.inf) -> Html:
    if cell is None:
        return tag("td", "–", class_="number weak")
    r2 = _r2(cell)
    hint = (
        f"R² on the transformed scale {fixed(cell['r2_transformed'])}, mean absolute error {number(cell['mae'])}, "
        f"trained on {cell['n_train']} rows"
    )
    kind = "number"
    if best is not None:
        kind += " weak" if r2 <= floor else ""
        kind += " best" if r2 == best and np.isfinite(r2) else ""
    return tag("td", fixed(cell["r2"]), class_=kind, title=hint)


def _undetermined(inputs: ReportInputs) -> Html:
    rows = []
    for form, frame in inputs.fits.items():
        ratio = where(frame, quantity="ratio")
        if len(ratio):
            shares = [
                f"{target_name(name)} {int(numbers(ratio, f'{name}_determined').sum())}"
                for name in FORMS[form].parameters
            ]
            rows.append([form_name(form), str(len(ratio)), ", ".join(shares)])
    why = paragraph(
        "Undetermined parameters: on a curve that still rises at the last step, λ, γ, t₀, A and K compensate each "
        "other, so that very different values give the same curve. Such values are not quoted, and not used for "
        "learning unless requested. Values of the curve itself (f(0), f(T), peak, half-rise step, end slope) are known "
        "to a few per cent. Prefer those targets."
    )
    if not rows:
        return why
    return join(
        [why, table(["form", "ratio curves", "curves on which each parameter is determined"], rows, words=(0, 2))]
    )


def _slice_name(which: Slice) -> str:
    recipe, form, quantity = which
    return f"{quantity}, {form_name(form)}, recipe {recipe}"


def _first_of_each_recipe(which: list[Slice]) -> list[Slice]:
    first: dict[str, Slice] = {}
    for candidate in which:
        first.setdefault(candidate[0], candidate)
    return list(first.values())
