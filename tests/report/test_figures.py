"""The figures: intervals, axes, curves, colours, and their embedding in the page."""

from __future__ import annotations

import dataclasses
import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from massact.plotting import STYLE, half_widths, layer_colour, new_figure, short_count, spread_layers, step_axis
from massact.report import embed
from massact.report.embed import Embedder, inline_svg, png_bytes
from massact.report.frames import where
from massact.report.plot_fits import evaluate, r2_figure, r2_place
from massact.report.plot_predictions import MOST_NAMED, best_regressors, predictions_figure
from massact.report.plot_trajectories import chunks, heatmap_figure, step_edges, trajectories_figure
from massact.report.sections_fitted import wins
from tests.report.synthetic import SHAPES, STEPS, Shape, curve_of, eq9, make_inputs


def test_half_width_is_students_t_times_the_standard_error(inputs):
    rows = inputs.trajectories.head(3)
    assert half_widths(rows) == pytest.approx(2.2621571628 * rows["se"].to_numpy())
    assert np.isnan(half_widths(rows.assign(n_sequences=1))).all()


def test_step_zero_has_its_own_place_and_decades_are_even():
    axes = new_figure(3.0, 2.0).subplots()
    step_axis(axes, 143000.0)
    place = axes.transScale.transform(np.column_stack([[0, 0.5, 1, 10, 100], np.zeros(5)]))[:, 0]
    assert place[1] - place[0] == pytest.approx(place[2] - place[1])
    assert place[3] - place[2] == pytest.approx(place[4] - place[3])
    assert [short_count(float(tick)) for tick in axes.get_xticks()] == ["0", "1", "10", "100", "1,000", "10k", "100k"]


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3, 5, 8, 9, 12, 36, 100])
@pytest.mark.parametrize("most", [2, 3, 8, 9])
def test_spread_layers_begins_first_ends_last_and_keeps_to_the_most(n_layers, most):
    chosen = spread_layers(n_layers, most)
    assert len(chosen) == len(set(chosen)) <= most
    assert chosen == sorted(chosen)
    assert (chosen[:1], chosen[-1:]) == (([0], [n_layers - 1]) if n_layers else ([], []))


def test_first_and_last_layer_have_the_same_colours_at_every_depth():
    assert {layer_colour(0, n) for n in (1, 2, 6, 36)} == {layer_colour(0, 2)}
    assert {layer_colour(n - 1, n) for n in (2, 6, 36)} == {layer_colour(1, 2)}


def test_edges_lie_between_checkpoints():
    steps = np.array(STEPS, dtype=float)
    edges = step_edges(steps)
    assert edges[0] == 0
    assert (edges[1:-1] > steps[:-1]).all()
    assert (edges[1:-1] < steps[1:]).all()
    assert step_edges(np.array([0.0])).tolist() == [0, 1]


def test_map_shows_the_measured_values(inputs):
    run = inputs.runs[1]
    figure = heatmap_figure(inputs.trajectories, [run], inputs.named)
    mesh = figure.axes[0].collections[0]
    ratios = where(inputs.trajectories, model=run.model, quantity="ratio", layer=2).sort_values("step")
    assert np.asarray(mesh.get_array())[2] == pytest.approx(ratios["value"].to_numpy())


@pytest.mark.parametrize("form", ["eq9", "eq14"])
def test_curves_are_evaluated_from_the_tables_own_parameters(inputs, form):
    row = where(inputs.fits[form], model="tiny-b", layer=1, quantity="ratio").iloc[0].to_dict()
    steps = np.array([0.0, 1.0, 300.0, 2048.0])
    assert evaluate(form, row, steps) == pytest.approx(eq9(steps, curve_of(SHAPES[1], 1, "ratio")), rel=1e-9)
    assert evaluate(form, {**row, "K": np.nan}, steps) is None


def test_runs_share_a_figure_only_within_a_recipe_and_none_is_left_alone(inputs):
    run = inputs.runs[0]
    long = run._replace(recipe="long")
    assert chunks([run] * 5 + [long], 4) == [[run] * 3, [run] * 2, [long]]
    assert [len(group) for group in chunks([run] * 9, 4)] == [3, 3, 3]
    assert chunks([], 4) == []


def test_all_figures_of_a_recipe_have_the_same_scales(inputs):
    runs, named = inputs.runs, inputs.named
    figures = [trajectories_figure(inputs.trajectories, group, named) for group in (runs[:2], runs[2:])]
    for first, second in zip(figures[0].axes[:3], figures[1].axes[:3], strict=True):
        assert first.get_ylim() == second.get_ylim()
        assert first.get_xlim() == second.get_xlim()


def test_r2_near_one_is_spread_over_the_axis(inputs):
    assert [r2_place(r2) for r2 in (0.0, 0.9, 0.99, 0.9999, 1.0)] == pytest.approx([0, 1, 2, 4, 4])
    fits = {"eq9": inputs.fits["eq9"].assign(r2=0.99), "step1": inputs.fits["step1"].assign(r2=-3.0)}
    axes = r2_figure(fits, inputs.runs[:1], inputs.named, "ratio").axes[0]
    place = axes.transAxes.inverted().transform(axes.transData.transform([(0, y) for y in axes.lines[0].get_ydata()]))
    assert place[:, 1] == pytest.approx(0.5)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "0.5", "0.9", "0.99", "0.999", "0.9999"]
    assert axes.lines[1].get_marker() == "v"
    assert list(axes.lines[1].get_ydata()) == [0, 0]


def test_more_models_than_symbols_are_drawn_alike_under_one_entry(inputs):
    scores = where(inputs.scores, form="eq9", quantity="ratio", target="f_end")
    few = where(inputs.predictions, form="eq9", quantity="ratio", target="f_end")
    assert len(predictions_figure(few, scores).legends[0].get_texts()) == len(inputs.runs)
    many = pd.concat([few.assign(model=f"m{at}") for at in range(MOST_NAMED + 1)], ignore_index=True)
    figure = predictions_figure(many, scores)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a layer of one of 10 models"]
    drawn = [line for line in figure.axes[0].lines if line.get_marker() not in ("None", "x")]
    assert len({(line.get_color(), line.get_marker()) for line in drawn}) == 1
    assert sum(len(line.get_xdata()) for line in drawn) > 3 * len(inputs.runs)


def test_best_regressors_are_chosen_for_each_split_without_baselines(inputs):
    scores = where(inputs.scores, form="eq9", quantity="ratio").copy()
    scores.loc[(scores["split"] == "random") & (scores["regressor"] == "nearest"), "r2"] = 1.0
    scores.loc[(scores["split"] == "random") & (scores["regressor"] == "xgboost"), "r2"] = 0.999
    best = best_regressors(scores)
    assert {name for (_, split), (name, _) in best.items() if split == "random"} == {"xgboost"}
    assert ("A", "architecture") in best


def test_a_wild_prediction_does_not_squeeze_the_axes(inputs):
    scores = where(inputs.scores, form="eq9", quantity="ratio", target="f_end")
    predictions = where(inputs.predictions, form="eq9", quantity="ratio", target="f_end")
    wild = predictions.assign(predicted=predictions["predicted"].where(predictions["layer"] > 0, 1e12))
    axes = predictions_figure(wild, scores).axes[0]
    assert axes.get_ylim() == axes.get_xlim()
    assert axes.get_ylim()[1] < 1e4
    assert any(line.get_marker() == "x" and len(line.get_xdata()) for line in axes.lines)


def test_ties_count_for_both_forms_and_failed_fits_for_none():
    inputs = make_inputs((Shape("a", 2, 64, 2),), slices=1)
    fits = {form: frame.assign(aicc=10.0) for form, frame in inputs.fits.items()}
    fits["eq14"] = fits["eq14"].assign(aicc=10.05)
    fits["step1"] = fits["step1"].assign(aicc=12.0)
    fits["step2"] = fits["step2"].assign(aicc=np.nan)
    counts = wins(dataclasses.replace(inputs, fits=fits), "ratio")
    assert counts == {"eq9": 2, "eq14": 2, "step1": 0, "step2": 0}


def some_figure():
    with mpl.rc_context(STYLE):
        figure = new_figure(3.0, 2.0)
        figure.subplots().plot([0, 1], [0, 1], label="a < b")
        figure.axes[0].legend()
    return figure


def test_svg_is_escaped_prefixed_and_follows_the_pages_colours():
    text = inline_svg(some_figure(), "f7", 'say "x" & <y>', "50%")
    assert 'aria-label="say &quot;x&quot; &amp; &lt;y&gt;"' in text
    assert "a &lt; b" in text
    assert set(re.findall(r' id="([^"]+?)-', text)) == {"f7"}
    assert "var(--ink)" in text
    assert "http" not in text


def test_a_figure_as_heavy_as_one_that_was_too_heavy_is_drawn_once(monkeypatch):
    drawn = []
    canvas = FigureCanvasAgg.draw
    monkeypatch.setattr(FigureCanvasAgg, "draw", lambda self: (drawn.append(self.figure.dpi), canvas(self)))
    monkeypatch.setattr(embed, "inline_svg", lambda *given: drawn.append("svg") or inline_svg(*given))
    small = Embedder(3_000)
    assert "data:image/png" in small.figure(some_figure(), "alt", "caption")
    assert "data:image/png" in small.figure(some_figure(), "alt", "caption")
    assert [one for one in drawn if one in ("svg", 170)] == ["svg", 170, 170]


def test_a_heavy_figure_becomes_a_png():
    assert "<svg" in Embedder(10**6).figure(some_figure(), "alt", "caption")
    embedder = Embedder(20_000)
    figure = some_figure()
    figure.axes[0].plot(np.arange(5000), np.random.default_rng(0).random(5000))
    text = embedder.figure(figure, 'a "quoted" alt', "caption")
    assert '<img style="width:33.33%" src="data:image/png;base64,' in text
    assert 'alt="a &quot;quoted&quot; alt"' in text
    assert png_bytes(figure, 60) == png_bytes(figure, 60)
