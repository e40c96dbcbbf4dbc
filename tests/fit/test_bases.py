import numpy as np
import pytest

from massact.fit.bases import BASES, CAPPED, LOG_DECAY, tau_floor
from tests.fit.curves import PYTHIA, SHORT

ALL = {**BASES, "capped": CAPPED[1], "capped below": CAPPED[-1]}


@pytest.mark.parametrize("name", ALL)
def test_slopes_are_the_derivatives_of_the_columns(name):
    basis, t, h = ALL[name], SHORT, 1e-6
    p, q = np.array([[3e-4], [0.02]]), np.array([[0.7], [0.05]])
    columns = basis.columns(t, p, q)
    a = np.array([[1.0, -2.0, 3.0], [0.5, 1.0, -1.0]])[:, : len(columns)]

    def curve(p, q):
        return sum(a[:, j : j + 1] * column for j, column in enumerate(basis.columns(t, p, q)))

    by_p, by_q = basis.slopes(t, p, q, columns, a)
    size = np.abs(by_p).max() + np.abs(by_q).max()
    np.testing.assert_allclose(by_p, (curve(p * np.exp(h), q) - curve(p * np.exp(-h), q)) / (2 * h), atol=1e-6 * size)
    expected = (curve(p, q * np.exp(h)) - curve(p, q * np.exp(-h))) / (2 * h)
    np.testing.assert_allclose(by_q, 0 * expected if name == "step1" else expected, atol=1e-6 * size)


def test_rates_of_zero_are_the_limits_and_stay():
    t = SHORT
    zero, tiny, other = np.zeros((1, 1)), np.full((1, 1), 1e-9), np.full((1, 1), 0.01)
    for at, near in (((zero, other), (tiny, other)), ((other, zero), (other, tiny))):
        for exact, close in zip(LOG_DECAY.columns(t, *at), LOG_DECAY.columns(t, *near), strict=True):
            np.testing.assert_allclose(exact, close, rtol=1e-5)
    a = np.ones((1, 3))
    assert not LOG_DECAY.slopes(t, zero, other, LOG_DECAY.columns(t, zero, other), a)[0].any()
    assert not LOG_DECAY.slopes(t, other, zero, LOG_DECAY.columns(t, other, zero), a)[1].any()
    assert LOG_DECAY.clip(t, zero, zero) == (0, 0)


def test_the_corner_is_a_parabola():
    zero = np.zeros((1, 1))
    np.testing.assert_array_equal(LOG_DECAY.columns(SHORT, zero, zero)[2][0], SHORT**2)


def test_tau_floor_is_stated_in_steps():
    assert tau_floor(SHORT) == 0.01
    assert tau_floor(PYTHIA[10:]) == pytest.approx(0.512)


@pytest.mark.parametrize("name", ALL)
def test_nodes_lie_in_the_box(name):
    basis = ALL[name]
    p, q = basis.grid(SHORT)
    for rate, (low, high) in ((p, basis.box(SHORT).p), (q, basis.box(SHORT).q)):
        inner = rate[rate > 0]
        assert (inner >= low * (1 - 1e-12)).all() and (inner <= high * (1 + 1e-12)).all()
