"""Whole curves from the architecture."""

from __future__ import annotations

import numpy as np
import pytest

from massact.predict.curve_model import Basis, CurveModel
from massact.predict.curves import curves_of, design_weights
from massact.predict.features import feature_matrix, layer_columns
from tests.predict.designs import architectures, trajectories


@pytest.fixture(scope="module")
def design():
    known = architectures(20)
    curves = curves_of(trajectories(known), known)
    x, names = feature_matrix(curves.rows, "design")
    return x, layer_columns(names), curves


def test_each_design_point_weighs_the_same():
    weights = design_weights(np.array([0, 0, 0, 1, 2]))
    assert weights.tolist() == pytest.approx([1 / 9, 1 / 9, 1 / 9, 1 / 3, 1 / 3])


def test_a_full_basis_draws_its_own_curves(design):
    _, _, curves = design
    basis = Basis.of(curves, rank=1000)
    np.testing.assert_allclose(basis.curves(basis.coordinates(curves.log_values)), curves.log_values, atol=1e-9)
    np.testing.assert_allclose(basis.components @ basis.components.T, np.eye(len(basis.components)), atol=1e-9)


def test_architectures_held_out_are_predicted(design):
    x, layer, curves = design
    test = curves.design % 4 == 0
    model = CurveModel(rank=2, layer=layer).fit(x[~test], curves.subset(~test))
    error = np.abs(model.predict(x[test]) - curves.log_values[test])
    flat = np.abs(curves.log_values[~test].mean(axis=0) - curves.log_values[test])
    assert np.median(error) < 0.4 * np.median(flat)
    held_out = model.held_out(curves.subset(~test).design)
    assert np.median(np.abs(held_out - curves.log_values[~test])) < 0.4 * np.median(flat)
