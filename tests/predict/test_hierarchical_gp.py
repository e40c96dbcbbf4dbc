"""The hierarchical Gaussian process: its gradient, its closed form of held-out groups, and what it learns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from massact.predict.hierarchical_gp import HierarchicalGP, _Process

TRAININGS = np.repeat(np.arange(12), 4)


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    factors = generator.normal(size=(12, 2))[TRAININGS]
    x = np.column_stack([factors, np.tile(np.arange(1, 5) / 4, 12)])
    y = factors[:, 0] + np.sin(3 * x[:, 2]) + 0.1 * generator.normal(size=12)[TRAININGS]
    return x, y + 0.02 * generator.normal(size=len(y))


def test_the_gradient_is_that_of_the_objective(data):
    x, y = data
    process = _Process([0, 1], [2], x.mean(axis=0), x.std(axis=0))
    process.rows = process.coordinates(x)
    prior, same = process.prior(), (TRAININGS[:, None] == TRAININGS[None]).astype(float)
    theta = prior[:, 0] + 0.3 * np.random.default_rng(1).normal(size=len(prior))
    target = (y - y.mean()) / y.std()
    numeric = approx_fprime(theta, lambda at: process.objective(at, target, same, prior)[0], 1e-6)
    np.testing.assert_allclose(process.objective(theta, target, same, prior)[1], numeric, atol=1e-3)


def test_held_out_groups_are_those_of_a_refit_with_the_same_hyperparameters(data):
    x, y = data
    model = HierarchicalGP(layer=(2,)).fit(x, y, TRAININGS)
    held_out = model.held_out(TRAININGS)
    (process,) = model._processes
    rest = TRAININGS != 3
    same = (TRAININGS[rest][:, None] == TRAININGS[rest][None]).astype(float)
    whole = process.rows
    process.rows = process.coordinates(x[rest])
    alpha = np.linalg.solve(process.covariance(same), process.target[rest])
    process.rows, process.alpha = process.coordinates(x[rest]), alpha
    np.testing.assert_allclose(held_out[~rest], process.predict(x[~rest]), rtol=1e-6)
    assert len(whole.layer) == len(y)


def test_it_predicts_architectures_it_has_not_seen(data):
    x, y = data
    test = TRAININGS >= 9
    predicted = HierarchicalGP(layer=(2,)).fit(x[~test], y[~test], TRAININGS[~test]).predict(x[test])
    assert np.corrcoef(predicted, y[test])[0, 1] > 0.9


def test_a_column_that_does_not_matter_loses_weight(data):
    x, y = data
    model = HierarchicalGP(layer=(2,), optional=(1,)).fit(x, y, TRAININGS)
    assert model.weights_.sum() == pytest.approx(1.0)
    assert model.weights_[0] > 0.5  # the subset without column 1 comes first


def test_a_constant_target_is_predicted(data):
    x, _ = data
    assert HierarchicalGP(layer=(2,)).fit(x, np.full(len(x), 3.0)).predict(x[:2]) == pytest.approx([3.0, 3.0])
