import numpy as np
import pytest

from massact.fit.forms import FORMS
from massact.fit.forms.eq9 import CappedLog
from massact.fit.forms.eq14 import EQ14, tau_floor
from tests.fit.curves import PYTHIA, SHORT

ALL = {**FORMS, "capped": CappedLog(1), "capped below": CappedLog(-1)}


def middle(basis, t, share):
    """Rates inside the box, as a column for one problem."""
    low, high = basis.box(t).T
    return np.exp(np.log(low) + share * (np.log(high) - np.log(low)))[:, None]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("share", [0.4, 0.55, 0.7])
def test_slopes_are_the_derivatives_of_the_columns(name, share):
    basis, t, h = ALL[name], SHORT, 1e-6
    rates = middle(basis, t, share)
    columns = basis.columns(t, rates)
    a = np.array([[1.0, -2.0, 3.0]])[:, : len(columns)]

    def curve(moved):
        return sum(a[:, j : j + 1] * column for j, column in enumerate(basis.columns(t, moved)))

    slopes = basis.slopes(t, rates, columns, a)
    assert len(slopes) == len(rates)
    size = np.abs(slopes).max() + 1e-6 * np.abs(curve(rates)).max()
    for j, slope in enumerate(slopes):
        up, down = (rates * np.exp(sign * h * (np.arange(len(rates)) == j))[:, None] for sign in (1, -1))
        np.testing.assert_allclose(slope, (curve(up) - curve(down)) / (2 * h), atol=1e-5 * size)


@pytest.mark.parametrize("name", [name for name, basis in ALL.items() if any(getattr(basis, "zero", ()))])
def test_rates_of_zero_are_the_limits_and_stay(name):
    basis, t = ALL[name], SHORT
    if "capped" in name:
        return
    for j in np.flatnonzero(basis.zero):
        rates = middle(basis, t, 0.5)
        zero, tiny = rates.copy(), rates.copy()
        zero[j], tiny[j] = 0.0, 1e-10
        for exact, close in zip(basis.columns(t, zero), basis.columns(t, tiny), strict=True):
            np.testing.assert_allclose(exact, close, rtol=1e-5)
        columns = basis.columns(t, zero)
        assert not basis.slopes(t, zero, columns, np.ones((1, len(columns))))[j].any()
        assert basis.clip(basis.box(t), zero)[j] == 0


def test_the_corner_is_a_parabola():
    np.testing.assert_array_equal(EQ14.columns(SHORT, np.zeros((2, 1)))[2][0], SHORT**2)


def test_tau_floor_is_stated_in_steps():
    assert tau_floor(SHORT) == 0.01
    assert tau_floor(PYTHIA[10:]) == pytest.approx(0.512)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("t", [SHORT, PYTHIA, SHORT[5:]], ids=["short", "pythia", "without 0"])
def test_nodes_lie_in_the_box(name, t):
    basis = ALL[name]
    for nodes, (low, high) in zip(basis.grid(t), basis.box(t), strict=True):
        inner = nodes[nodes > 0]
        assert (inner >= low * (1 - 1e-12)).all() and (inner <= high * (1 + 1e-12)).all()
        assert (np.diff(nodes) > 0).all()
