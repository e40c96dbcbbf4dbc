"""Headline numbers against what the synthetic inputs were made from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from massact.report import Headline, ReportInputs
from massact.report.headline import headline, median_r2
from massact.report.inputs import TrainingRun, architecture_of, labels
from tests.report.synthetic import SHAPES, STEPS, Shape, curve_of, eq9, make_inputs


def test_counts_and_largest_ratio(inputs):
    numbers = headline(inputs.checked())
    assert (numbers.models, numbers.checkpoints, numbers.layers) == (4, 4 * len(STEPS), 16)
    assert numbers.max_ratio is not None
    truth = eq9(np.array([2048.0]), curve_of(SHAPES[2], 2, "ratio"))[0]
    assert numbers.max_ratio.value == pytest.approx(truth, rel=0.1)
    assert (numbers.max_ratio.model, numbers.max_ratio.layer, numbers.max_ratio.step) == ("tiny-c", 2, 2048)


def test_median_r2_is_over_ratio_curves_only(inputs):
    ratio = inputs.fits["eq9"].query("quantity == 'ratio'")
    assert median_r2(inputs)["eq9"] == ratio["r2"].median()
    changed = inputs.fits["eq9"].assign(r2=lambda f: f["r2"].where(f["quantity"] == "ratio", -5.0))
    assert median_r2(dataclasses.replace(inputs, fits={"eq9": changed}))["eq9"] == ratio["r2"].median()


def test_best_held_out_is_no_baseline_no_random_split_and_of_the_first_slice(inputs):
    scores = inputs.scores.copy()
    held_out = scores["split"] == "architecture"
    first = (scores["form"] == "eq9") & (scores["quantity"] == "ratio")
    scores["r2"] = 0.1
    scores.loc[~held_out | ~first, "r2"] = 0.99
    scores.loc[held_out & first & (scores["target"] == "f_end") & (scores["regressor"] == "lasso"), "r2"] = 0.6
    scores.loc[held_out & first & (scores["target"] == "f_end") & (scores["regressor"] == "nearest"), "r2"] = 0.7
    best = headline(dataclasses.replace(inputs, scores=scores)).best_held_out
    assert best is not None
    assert (best.target, best.regressor, best.r2, best.baseline) == ("f_end", "lasso", 0.6, 0.7)
    assert (best.n_architectures, best.n_candidates) == (4, 50)


def test_lines_say_what_is_missing():
    lines = Headline().lines()
    assert [line.partition(": ")[2] for line in lines[1:]] == [
        "nothing measured yet",
        "nothing fitted yet",
        "nothing scored yet",
    ]
    assert headline(ReportInputs().checked()) == Headline()


def test_lines_name_everything(inputs):
    lines = headline(inputs.checked()).lines()
    assert lines[0] == "measured: 4 models, 96 checkpoints, 16 layer curves"
    assert "tiny-c, layer 2, step 2,048" in lines[1]
    assert lines[2].startswith("median R2 of ratio curves: Eq. 9 0.98")
    assert lines[3].endswith("4 architectures)")


def test_runs_are_named_by_what_tells_them_apart():
    a, b = TrainingRun("tiny", "nano", "a", 0), TrainingRun("tiny", "nano", "b", 0)
    assert list(labels([a, b]).values()) == ["a", "b"]
    assert labels([a, a._replace(seed=3)])[a] == "a, seed 0"
    assert labels([a, a._replace(recipe="long")])[a] == "a, nano"
    assert labels([b._replace(seed=2)]) == {b._replace(seed=2): "b, seed 2"}


def test_architecture_comes_from_provenance_then_training_then_fits():
    inputs = make_inputs((Shape("a", 2, 64, 2),), slices=1)
    run = inputs.runs[0]
    assert architecture_of(inputs, run)["d_model"] == 64
    without = dataclasses.replace(inputs, provenance=[])
    assert architecture_of(without, run) == {"n_layers": 2}
    assert architecture_of(dataclasses.replace(without, training={}), run)["d_mlp"] == 256
    assert architecture_of(dataclasses.replace(without, training={}, fits={}), run) == {}
