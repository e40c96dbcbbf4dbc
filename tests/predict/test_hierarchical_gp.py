"""The hierarchical Gaussian process: its gradient, its closed form of held-out groups, and what it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from massact.predict.hierarchical_gp import HierarchicalGP, _Fit

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
    fit = _Fit(x, TRAININGS, [0, 1], [2])
    prior = fit.prior()
    theta = prior[:, 0] + 0.3 * np.random.default_rng(1).normal(size=len(prior))
    target = (y - y.mean()) / y.std()
    numeric = approx_fprime(theta, lambda at: fit.objective(at, target, prior)[0], 1e-6)
    np.testing.assert_allclose(fit.objective(theta, target, prior)[1], numeric, atol=1e-3)


def test_held_out_groups_are_those_of_a_fit_without_them_and_the_same_hyperparameters(data):
    x, y = data
    model = HierarchicalGP(layer=(2,)).fit(x, y, TRAININGS)
    (fit,) = model.fits_
    rest = TRAININGS != 3
    covariance = _covariance(fit)[np.ix_(rest, rest)]
    alpha = np.linalg.solve(covariance, fit.target[rest])
    new, known = fit.coordinates(x[~rest]), fit.coordinates(x[rest])
    expected = replace(fit.process, alpha=alpha).at(new.architecture, new.layer, known.architecture, known.layer)
    np.testing.assert_allclose(model.held_out(TRAININGS)[~rest], expected, rtol=1e-6)


def _covariance(fit):
    lower = np.tril(fit.factor[0])
    return lower @ lower.T


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
