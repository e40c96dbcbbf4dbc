"""The rest of a run from its first steps."""

from __future__ import annotations

import numpy as np
import pytest

from massact.predict.early import MOST_POINTS, Deviations

LOG_STEPS = np.linspace(0, 7.6, 20)


@pytest.fixture(scope="module")
def deviations():
    generator = np.random.default_rng(0)
    slope = generator.normal(size=(200, 1)) * LOG_STEPS / 7.6
    return Deviations.of(LOG_STEPS, slope, np.arange(200), scatter=0.02)


def test_the_first_part_tells_the_rest(deviations):
    predicted, actual = np.full((2, 20), 1.0), 1.0 + np.outer([0.8, -1.2], LOG_STEPS / 7.6)
    curves, p = deviations.condition(predicted, LOG_STEPS[:8], actual[:, :8])
    np.testing.assert_allclose(curves, actual, atol=0.03)
    assert p > 0.01


def test_it_is_the_conditional_mean_of_a_normal_distribution(deviations):
    """Against the partitioned covariance, written out at steps of the deviations themselves."""
    actual = np.array([[0.1, 0.2, 0.25, 0.5]])
    curves, _ = deviations.condition(np.zeros((1, 20)), LOG_STEPS[:4], actual)
    c = deviations.covariance
    expected = c[:, :4] @ np.linalg.solve(c[:4, :4] + 0.02**2 * np.eye(4), actual[0])
    np.testing.assert_allclose(curves[0], expected, rtol=1e-9)


def test_a_run_of_another_kind_is_noticed(deviations):
    wave = 1.0 + 0.5 * np.sin(3 * LOG_STEPS[None, :10])
    assert deviations.condition(np.full((1, 20), 1.0), LOG_STEPS[:10], wave)[1] < 1e-6


def test_many_measurements_are_averaged_in_bins(deviations):
    dense = np.linspace(0, 3.0, 20 * MOST_POINTS)
    slope = 0.7 * dense[None] / 7.6
    curves, _ = deviations.condition(np.zeros((1, 20)), dense, slope)
    np.testing.assert_allclose(curves[0], 0.7 * LOG_STEPS / 7.6, atol=0.01)
