import numpy as np
import pytest

from massact.errors import FitError
from massact.fit import fit_many
from massact.fit.forms.eq14 import eq14
from tests.fit.curves import PYTHIA, SHORT, series

T = PYTHIA[::4]


def test_one_wild_point_moves_hubers_curve_little():
    truth, noisy, _ = series(T, 40, noise=0.03, kinds=("early peak", "log rise"))
    wild = noisy.copy()
    wild[:, 20] *= 4
    errors = {}
    for name, y, loss in (("clean", noisy, "squares"), ("squares", wild, "squares"), ("huber", wild, "huber")):
        out = fit_many(T, y, form="eq14", loss=loss)
        assert np.isfinite(out["sse"]).all()
        errors[name] = np.median(np.abs(out["f_end"].to_numpy() / truth[:, -1] - 1))
    assert errors["huber"] < 2 * errors["clean"] + 0.01
    assert errors["huber"] < 0.6 * errors["squares"]


def test_huber_without_outliers_is_nearly_least_squares():
    _, noisy, _ = series(T, 16, noise=0.03, kinds=("early peak",))
    noisy = noisy - noisy.mean(axis=1, keepdims=True)
    plain, huber = (fit_many(T, noisy, form="eq14", loss=loss) for loss in ("squares", "huber"))
    span = np.ptp(noisy, axis=1)
    assert np.median(np.abs(plain["f_end"] - huber["f_end"]) / span) < 0.02


def test_relative_weights_make_the_start_of_a_rise_certain():
    t, rng = PYTHIA[::4], np.random.default_rng(0)
    truth = eq14(t, 40.0, -40 * np.log(200.0) + 3, 1e-7, 200.0, 0.0)
    y = truth * (1 + 0.08 * rng.standard_normal((60, t.size)))
    plain, relative = (fit_many(t, y, form="eq14", weights=weights) for weights in (None, "relative"))
    spread = [np.std(out["f_start"]) for out in (plain, relative)]
    assert spread[1] < 0.5 * spread[0]


def test_another_word_for_weights_is_refused():
    with pytest.raises(FitError, match="'absolute'"):
        fit_many(SHORT, np.ones((1, 24)), weights="absolute")
