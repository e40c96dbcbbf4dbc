import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massact.fit import fit_many, fit_series
from massact.fit.engine import bins as binning
from massact.fit.engine.bins import EVERY, bins_of, count_of, mean_steps, mean_values, thinned, weights_of_bins
from massact.fit.forms.eq14 import eq14

N = 600
T = np.arange(N) * 200.0


def curve(t, noise=0.02, seed=0):
    truth = eq14(t, 2.0, -10.0, 6 / t[-1], 0.002 * t[-1], 5.0)
    return truth + noise * np.random.default_rng(seed).standard_normal(t.size)


def test_up_to_some_hundred_points_every_one_is_searched():
    assert bins_of(np.arange(float(EVERY))) is None and count_of(np.arange(float(EVERY))) == EVERY
    assert 100 < bins_of(np.arange(EVERY + 1.0)).size <= EVERY


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(EVERY + 1, 5000), st.booleans())
def test_bins_hold_every_point_once_and_keep_what_bounds_the_search(seed, count, uniform):
    rng = np.random.default_rng(seed)
    t = np.arange(count) * 3.0 if uniform else np.sort(rng.choice(10**6, count, replace=False)).astype(float)
    bins = bins_of(t)
    assert bins is not None and bins.size <= EVERY and (np.diff(bins) > 0).all() and bins[0] == 0
    means = mean_steps(t, bins)
    assert (np.diff(means) > 0).all() and means[[0, 1, -1]].tolist() == t[[0, 1, -1]].tolist()
    y, w = rng.standard_normal((2, count)), rng.uniform(0.1, 2, count)
    square = weights_of_bins(w, bins) ** 2
    np.testing.assert_allclose(square.sum(), np.sum(w**2))
    np.testing.assert_allclose(mean_values(y, w, bins) @ square, y @ w**2, atol=1e-9)


def test_few_points_are_left_as_they_are():
    t = np.arange(20.0)
    few = thinned(t, t, t + 1, None)
    assert few.t is t and few.y is t and few.w.tolist() == (t + 1).tolist() and few.sequences is None


@pytest.mark.parametrize("form", ["eq14", "step1", "hill", "two_exp", "log_decay"])
@pytest.mark.parametrize("loss", ["squares", "huber"])
def test_parameters_and_errors_are_those_of_a_search_of_every_point(form, loss, monkeypatch):
    y = np.stack([curve(T, seed=seed) for seed in range(2)])
    y[1, 7] = np.nan
    binned = fit_many(T, y, form=form, loss=loss)
    assert binned.attrs["bins"].keys() == {str(N), str(N - 1)}
    monkeypatch.setattr(binning, "EVERY", 10 * N)
    every = fit_many(T, y, form=form, loss=loss)
    assert "bins" not in every.attrs
    assert binned["regime"].tolist() == every["regime"].tolist()
    for name in every.select_dtypes("number"):
        np.testing.assert_allclose(binned[name], every[name], rtol=2e-5, err_msg=name)


def test_the_result_says_that_it_was_searched_in_bins():
    fit = fit_series(T, curve(T), form="eq14")
    assert fit.n_points == N and fit.bins == count_of(T) < EVERY
    assert f"points {N} (searched in {fit.bins} bins)" in fit.report()
    assert type(fit).from_json(fit.to_json()).bins == fit.bins
    short = fit_series(T[:50], curve(T)[:50], form="eq14")
    assert short.bins == 50 and "bins" not in short.report()


def test_intervals_of_bins_are_those_of_every_point(monkeypatch):
    rng = np.random.default_rng(1)
    each = curve(T, 0) * (1 + 0.04 * rng.standard_normal((8, 1))) + 0.05 * rng.standard_normal((8, N))
    binned = fit_series(T, each.mean(axis=0), form="eq14", sequences=each, resamples=100).intervals
    monkeypatch.setattr(binning, "EVERY", 10 * N)
    every = fit_series(T, each.mean(axis=0), form="eq14", sequences=each, resamples=100).intervals
    for name, bounds in every.items():
        width = bounds[1] - bounds[0]
        np.testing.assert_allclose(binned[name], bounds, atol=0.05 * width, err_msg=name)


def test_ten_thousand_points_take_about_a_second():
    t = np.arange(10_000.0)
    fit_series(T[:40], curve(T)[:40])  # imports
    before = time.process_time()
    fit = fit_series(t, curve(t))
    assert time.process_time() - before < 5  # .7 on a free core; without bins some minutes
    assert fit.n_points == 10_000 and fit.r2 > 0.9
