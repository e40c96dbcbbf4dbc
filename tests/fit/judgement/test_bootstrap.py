import numpy as np
import pytest

from massact.errors import FitError
from massact.fit import fit_many
from massact.fit.engine.search import search
from massact.fit.forms.eq14 import eq14
from massact.fit.judgement.bootstrap import (
    draws,
    minima_of,
    refit,
    resampled_residuals,
    resampled_sequences,
    student,
    widening,
)
from tests.fit.curves import SHORT, series

T = SHORT
W = np.ones(T.size)


def measured(count: int = 6, kinds: tuple[str, ...] = ("early peak", "log rise")) -> tuple[np.ndarray, np.ndarray]:
    """Mean series (curve, step) and ten sequences of each (sequence, curve, step)."""
    truth, _, _ = series(T, count, kinds=kinds)
    rng = np.random.default_rng(4)
    sequences = truth * (
        1 + 0.04 * rng.standard_normal((10, count, 1)) + 0.06 * rng.standard_normal((10, *truth.shape))
    )
    return sequences.mean(axis=0), sequences


def test_small_samples_widen():
    assert widening(10) == pytest.approx(1.217, abs=1e-3)
    assert student(1000) == pytest.approx(1, abs=2e-3) and student(10) > student(30) > 1


def test_resamples_have_the_mean_and_spread_of_the_sequences():
    y, sequences = measured(1)
    resampled = resampled_sequences(y[0], sequences[:, 0], resamples=4000, seed=0)
    np.testing.assert_allclose(resampled.mean(axis=0), y[0], rtol=3e-3)
    np.testing.assert_allclose(resampled.std(axis=0), sequences[:, 0].std(axis=0) / np.sqrt(10), rtol=0.1)
    np.testing.assert_allclose(draws(10, 50, 1).sum(axis=1), 1)


def test_residuals_are_drawn_as_the_weights_say_and_blocks_keep_their_order():
    rng = np.random.default_rng(0)
    curve, w = 10 + np.arange(60.0), 1 / (10 + np.arange(60.0))
    y = curve * (1 + 0.05 * rng.standard_normal(60))
    spread = resampled_residuals(y, curve, w, 5, block=1, resamples=3000, seed=0).std(axis=0)
    np.testing.assert_allclose(spread / curve, 0.05, rtol=0.4)
    blocks = resampled_residuals(y, curve, w, 5, block=8, resamples=50, seed=0)
    scaled = (blocks - curve) * w
    source = (y - curve) * w * np.sqrt(60 / 55)
    source = source - source.mean()
    first = [int(np.argmin(np.abs(source - value))) for value in scaled[0, :8]]
    assert np.diff(first).tolist() == [1] * 7 or (np.diff(first) % 60 == 1).all()


@pytest.mark.parametrize("form", ["eq14", "hill", "step1"])
def test_warm_fits_are_the_global_ones(form):
    y, sequences = measured(4, ("early peak", "late peak", "log rise", "fall"))
    optimum = search(form, T, y, W)
    missed = []
    for i in range(4):
        resampled = resampled_sequences(y[i], sequences[:, i], resamples=200, seed=i)
        warm = refit(form, T, W, resampled, minima_of(form, T, W, y[i], optimum.rates[:, i]))
        everywhere = search(form, T, resampled, W)
        missed.append(np.mean(warm.sse > everywhere.sse * 1.001 + 1e-12 * np.vecdot(resampled, resampled)))
        drawn = search(form, T, resampled, W).sse
        assert (warm.sse >= drawn * (1 - 1e-3)).all()
    assert np.mean(missed) < 0.01


def test_the_first_minimum_is_the_optimum_and_the_others_are_rivals():
    y, _ = measured(4, ("fall",))
    optimum = search("eq14", T, y, W)
    for i in range(4):
        minima = minima_of("eq14", T, W, y[i], optimum.rates[:, i])
        np.testing.assert_array_equal(minima[:, 0], optimum.rates[:, i])
        assert 1 <= minima.shape[1] <= 4


@pytest.mark.parametrize("form", ["eq9", "eq14", "step2", "two_exp", "bump"])
def test_intervals_hold_their_estimates(form):
    y, sequences = measured()
    out = fit_many(T, y, form=form, sequences=sequences, resamples=40)
    for name in ("f_start", "f_end", "peak_value", "end_slope"):
        assert (out[f"{name}_lower"] <= out[name]).all() and (out[name] <= out[f"{name}_upper"]).all()
    again = fit_many(T, y, form=form, sequences=sequences, resamples=40)
    assert out.equals(again)


def test_intervals_of_eq9_are_about_what_it_draws():
    # An exponential is beyond Eq. 9: its curve is the nearest, and the interval has to be about that.
    t = T
    rng = np.random.default_rng(0)
    sequences = (20 + 30 * np.exp(-t / 300))[None, None] * (1 + 0.001 * rng.standard_normal((10, 1, t.size)))
    out = fit_many(t, sequences.mean(axis=0), sequences=sequences, resamples=200).iloc[0]
    width = out["f_end_upper"] - out["f_end_lower"]
    assert width > 0 and min(out["f_end"] - out["f_end_lower"], out["f_end_upper"] - out["f_end"]) > 0.1 * width


@pytest.mark.parametrize("how", ["residuals", "blocks"])
def test_residuals_give_intervals_where_there_are_no_sequences(how):
    truth = eq14(T, 60.0, -100.0, 8 / 4096, 30.0, 25.0)
    y = truth + np.random.default_rng(1).standard_normal((30, T.size))
    out = fit_many(T, y, form="eq14", intervals=how, resamples=100)
    inside = (out["f_end_lower"] <= truth[-1]) & (truth[-1] <= out["f_end_upper"])
    assert inside.mean() > 0.7
    with pytest.raises(FitError, match="need sequences"):
        fit_many(T, y, intervals="sequences")


def test_missing_steps_and_constants_have_their_intervals_or_none():
    y, sequences = measured(3)
    y[0, 5], y[1] = np.nan, 7.0
    out = fit_many(T, y, form="eq14", sequences=sequences, resamples=50)
    assert out["f_end_lower"].notna().tolist() == [True, False, True]
    broken = sequences.copy()
    broken[2, 0, 3] = np.nan
    with pytest.raises(FitError, match="a sequence of curve 0"):
        fit_many(T, y, form="eq14", sequences=broken)
    with pytest.raises(FitError, match="1 sequence cannot be resampled"):
        fit_many(T, y, form="eq14", sequences=sequences[:1])
