"""Curves as a design."""

from __future__ import annotations

import numpy as np
import pytest

from massact.architecture import Architecture
from massact.errors import TableError
from massact.predict.curves import curves_of
from tests.predict.designs import STEPS, architectures, trajectories


def test_a_row_per_training_and_layer():
    known = architectures(4)
    curves = curves_of(trajectories(known, seeds=2), known)
    assert curves.log_values.shape == (2 * sum(a.n_layers for a in known.values()), len(STEPS))
    assert curves.steps.tolist() == STEPS.tolist()
    assert len(set(curves.training.tolist())) == 8
    assert len(set(curves.design.tolist())) == 4
    half = curves.subset(curves.design == 1)
    assert set(half.rows["model"]) == {"m1"}
    assert len(half.log_values) == len(half.training) == 2 * known["m1"].n_layers


def test_rungs_of_a_ladder_are_one_design_point():
    known = {f"h{h}": Architecture(n_layers=2, d_model=64, n_heads=h, d_mlp=256) for h in (1, 2, 4)}
    assert set(curves_of(trajectories(known), known).design.tolist()) == {0}


def test_values_are_interpolated_in_log_step():
    known = architectures(1)
    table = trajectories(known, noise=0)
    between = np.array([int(np.expm1((np.log1p(STEPS[-2]) + np.log1p(STEPS[-1])) / 2))])
    whole, one = curves_of(table, known), curves_of(table, known, steps=between)
    low, high = np.log1p(STEPS[-2:])
    share = (np.log1p(between[0]) - low) / (high - low)
    expected = whole.log_values[:, -2] * (1 - share) + whole.log_values[:, -1] * share
    np.testing.assert_allclose(one.log_values[:, 0], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(quantity="median"), "no ratio"),
        (lambda t: t.assign(value=0.0), "model m0, step 0, layer 0: ratio 0.0"),
        (lambda t: t.assign(model="other"), "architecture of model other is missing"),
        (lambda t: t[t["step"] == 0], "fewer than two steps"),
    ],
)
def test_what_cannot_be_a_curve_is_named(change, message):
    known = architectures(1)
    with pytest.raises(TableError, match=message):
        curves_of(change(trajectories(known)), known)
