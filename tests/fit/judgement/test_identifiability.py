import numpy as np
import pytest

from massact.fit import FORMS, fit_many
from massact.fit.judgement.identifiability import BEYOND, _listed, _named, identifiability
from tests.fit.curves import PYTHIA, series

W = np.ones(PYTHIA.size)


def test_an_early_peak_is_determined_and_a_log_rise_is_not():
    # A plateau that was reached, and logarithmic growth at b T = .2.
    peak = np.array([[60.0, 0.022, np.exp(-5.8), 0.6, 20.0]])
    rise = np.array([[40.0, 1.4e-6 / np.exp(-8), np.exp(-8.0), 0.3, 10.0]])
    (a,), (b,) = (identifiability("eq9", values, PYTHIA, W)[0] for values in (peak, rise))
    assert a < 1e3 and b > 1e4
    assert {"lambda", "gamma", "t0"} <= set(identifiability("eq9", rise, PYTHIA, W)[1][0].split())


def test_the_sloppiest_direction_changes_the_curve_least():
    values = np.array([[40.0, 0.03, np.exp(-8.0), 0.3, 10.0]])
    _, (named,) = identifiability("eq9", values, PYTHIA, W)
    assert set(named.replace("+", " ").replace("-", " ").split()) <= set(FORMS["eq9"].parameters)


@pytest.mark.parametrize("form", FORMS)
def test_every_fit_has_a_condition_number(form):
    _, noisy, _ = series(PYTHIA[::6], 12)
    out = fit_many(PYTHIA[::6], noisy, form=form)
    assert (out["condition"] >= 1).all() and (out["sloppiest"] != "").all()


def test_what_is_not_there_has_none():
    condition, named = identifiability("eq9", np.full((1, 5), np.nan), PYTHIA, W)
    assert np.isnan(condition[0]) and named == [""]


def test_components_of_one_size_are_named_in_the_order_of_the_parameters_on_every_machine():
    names = ("A", "lambda", "gamma", "t0", "K")
    direction = np.array([0.5, -0.5, 0.5, -0.5, 1e-9])
    rounded = direction * (1 + np.array([0.0, 2e-15, 1e-15, 3e-15, 0.0]))
    assert _named(names, direction) == _named(names, rounded) == "A - lambda + gamma - t0"


def test_a_condition_number_that_rounding_decides_is_the_same_everywhere():
    flat = np.array([[40.0, 1e-12, np.exp(-8.0), 1e-9, 10.0]])
    moved = flat * (1 + 1e-13)
    conditions = [identifiability("eq9", values, PYTHIA, W)[0][0] for values in (flat, moved)]
    assert conditions == pytest.approx([conditions[0]] * 2, rel=0.01)
    assert max(conditions) <= BEYOND


def test_several_free_directions_name_all_that_take_part_whichever_span_them():
    names = ("A", "lambda", "gamma", "t0", "K")
    free = np.linalg.qr(np.array([[1.0, -1, 0, 0, 0], [0, 1, 1, 0, 1e-6]]).T)[0].T
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert _listed(names, free) == _listed(names, turn @ free) == "A, lambda, gamma"
