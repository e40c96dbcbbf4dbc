import numpy as np
import pytest

from massact.fit import FORMS, fit_many
from massact.fit.identifiability import identifiability
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
