import subprocess
import sys

import numpy as np
import pytest

from massact.errors import FitError
from massact.fit import FORMS, CurveFit, FitStatus, Regime, fit_many, fit_series
from massact.fit.forms.eq9 import eq9
from massact.fit.forms.eq14 import eq14
from tests.fit.curves import PYTHIA, SHORT, series


@pytest.mark.parametrize("form", FORMS)
def test_one_curve_and_many_have_the_same_sse(form):
    for t in (SHORT, PYTHIA[::6]):
        _, noisy, _ = series(t, 4)  # one curve of each kind
        many = fit_many(t, noisy, form=form)
        for i, y in enumerate(noisy):
            one = fit_series(t, y, form=form)
            assert one.sse == pytest.approx(many["sse"][i], rel=1e-6)
            assert one.regime == many["regime"][i]
            assert one.aicc == pytest.approx(many["aicc"][i], abs=1e-4)
            assert one.derived["f_end"] == pytest.approx(many["f_end"][i], rel=1e-2)


def test_lmfits_face_on_noise_free_eq9():
    truth = {"A": 40.0, "lam": 0.05, "gamma": 0.05, "t0": 0.8, "K": 12.0}
    fit = fit_series(SHORT, eq9(SHORT, **truth))
    assert fit.status is FitStatus.OK and fit.r2 == pytest.approx(1)
    for name, value in truth.items():
        assert fit.params[name].value == pytest.approx(value, rel=1e-4)
    assert fit.best["lambda"] == fit.params["lam"].value
    np.testing.assert_allclose(fit.predict(SHORT), eq9(SHORT, **truth), rtol=1e-6)
    assert np.abs(fit.residuals).max() < 1e-4
    assert fit.result is not None and "lam" in fit.result.fit_report()


def test_lmfits_errors_agree_with_the_engines_where_they_are_determined():
    y = eq14(SHORT, 60.0, -100.0, 12 / 4096, 30.0, 25.0) + np.random.default_rng(0).standard_normal(24)
    one, row = fit_series(SHORT, y), fit_many(SHORT, y[None]).iloc[0]
    for name in ("A", "gamma", "t0", "K"):
        assert one.stderr[name] == pytest.approx(row[f"{name}_stderr"], rel=0.05)
        assert one.determined[name] == row[f"{name}_determined"]


@pytest.mark.parametrize("t", [SHORT, PYTHIA[::6]], ids=["short", "pythia"])
def test_never_worse_than_ten_starts_of_lmfit(t):
    from lmfit import Model, Parameters

    _, noisy, _ = series(t, 4, seed=2)  # one curve of each kind
    model = Model(eq9, independent_vars=["t"], nan_policy="omit")
    rng = np.random.default_rng(0)
    for y in noisy:
        best = np.inf
        for _ in range(10):
            start, span = Parameters(), 10 ** rng.uniform(-4, 0)
            start.add("A", np.ptp(y) * rng.uniform(0.3, 2))
            start.add("lam", 10 ** rng.uniform(-4, 0), min=1e-12)
            start.add("gamma", 1 / (t[-1] * span), min=1e-12)
            start.add("t0", 10 ** rng.uniform(-2, 0.5), min=0.011 / (t[-1] * span))
            start.add("K", rng.choice([y.min(), y.mean(), y[-1]]))
            result = model.fit(y, start, t=t, max_nfev=1500)
            drawn = result.eval(t=t)
            tau = result.params["t0"].value / result.params["gamma"].value
            if np.isfinite(drawn).all() and tau >= 0.01:  # below, tau0 is a dummy that the engine does not use
                best = min(best, float(np.sum((y - drawn) ** 2)))
        assert fit_series(t, y).sse <= 1.001 * best


def test_a_limit_curve_keeps_the_engine_and_says_so():
    y = 3 + 2 * np.log(SHORT + 9) + 0.02 * np.random.default_rng(3).standard_normal(24) + 1e-4 * SHORT
    fit = fit_series(SHORT, y)
    assert fit.status is FitStatus.AT_EDGE_B_ZERO and fit.result is None and fit.regime is Regime.LOG_RISE
    assert not any(fit.determined.values())
    assert not fit.params["gamma"].vary
    assert np.isfinite(fit.predict(SHORT)).all()
    assert "not determined" in fit.report() and "none in range" in fit.report()


def test_given_parameters_are_respected_and_judged():
    from lmfit import Parameters

    y = eq14(SHORT, 60.0, -100.0, 12 / 4096, 30.0, 25.0) + np.random.default_rng(0).standard_normal(24)
    constrained = Parameters()
    for name, value in (("A1", 50.0), ("A2", -80.0), ("beta", 2e-3), ("tau0", 25.0), ("K", 30.0)):
        constrained.add(name, value)
    free = fit_series(SHORT, y, form="eq14", params=constrained)
    assert free.status is FitStatus.OK
    constrained["K"].set(value=60.0, vary=False)
    fixed = fit_series(SHORT, y, form="eq14", params=constrained)
    assert fixed.status is FitStatus.NOT_GLOBAL and fixed.params["K"].value == 60 and fixed.sse > free.sse
    del constrained["tau0"]
    with pytest.raises(FitError, match="params have no tau0"):
        fit_series(SHORT, y, form="eq14", params=constrained)


def test_sequences_give_intervals_that_hold_the_truth():
    rng = np.random.default_rng(0)
    truth = eq14(SHORT, 60.0, -100.0, 8 / 4096, 30.0, 25.0)
    sequences = truth * (1 + 0.05 * rng.standard_normal((10, 1)) + 0.05 * rng.standard_normal((10, 24)))
    fit = fit_series(SHORT, sequences.mean(axis=0), sequences=sequences)
    assert fit.intervals["f_end"][0] < truth[-1] < fit.intervals["f_end"][1]
    for name, (lower, upper) in fit.intervals.items():
        assert lower <= fit.derived[name] <= upper
    assert fit.intervals == fit_series(SHORT, sequences.mean(axis=0), sequences=sequences).intervals
    assert "95 %" in fit.report()


def test_few_and_missing_points():
    y = np.full(24, np.nan)
    with pytest.raises(FitError, match="none of 24 values"):
        fit_series(SHORT, y)
    y[:3] = [1, 2, 3]
    few = fit_series(SHORT, y)
    assert few.status is FitStatus.FEW_POINTS and few.regime is Regime.FAILED and np.isnan(few.predict(SHORT)).all()
    assert "few_points" in few.report()
    flat = fit_series(SHORT, np.full(24, 3.0))
    assert flat.status is FitStatus.CONSTANT and flat.predict(5.0) == 3


def test_bad_input():
    y = np.ones(24)
    for options, message in (
        ({"form": "step3"}, "did you mean 'step"),
        ({"sequences": np.ones((1, 24))}, "1 sequence cannot be resampled"),
        ({"sequences": np.ones((3, 4))}, "sequences, 24"),
        ({"sequences": np.where(np.eye(24) > 0, np.nan, 1.0)}, "no value where the series has one"),
        ({"weights": -y}, "negative"),
    ):
        with pytest.raises(FitError, match=message):
            fit_series(SHORT, y, **options)
    with pytest.raises(FitError, match="one value per step"):
        fit_series(SHORT, y[:-1])


def test_importing_is_light():
    code = "import sys, massact.fit; sys.exit(any(name in sys.modules for name in ('torch', 'lmfit', 'numba')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_report_of_every_form_is_text():
    _, noisy, _ = series(SHORT, 4)
    for form in FORMS:
        for y in noisy:
            fit = fit_series(SHORT, y, form=form)
            assert isinstance(fit, CurveFit) and fit.report().startswith(f"{form}: ")


def early_peak(seed: int = 0, noise: float = 1.0) -> np.ndarray:
    return eq14(SHORT, 60.0, -100.0, 12 / 4096, 30.0, 25.0) + noise * np.random.default_rng(seed).standard_normal(24)


def test_bounds_and_expressions_are_lmfits():
    from lmfit import Parameters

    params = Parameters()
    for name, value in (("A1", 50.0), ("A2", -80.0), ("beta", 2e-3), ("tau0", 25.0), ("K", 30.0)):
        params.add(name, value)
    params["K"].set(max=20.0)
    bounded = fit_series(SHORT, early_peak(), form="eq14", params=params)
    assert bounded.params["K"].value <= 20.0
    params["K"].set(max=np.inf)
    params["tau0"].set(min=1e-6)
    params["A2"].set(expr="-A1 * log(tau0)")  # f(0) = K: growth that begins at the plateau's height
    tied = fit_series(SHORT, early_peak(), form="eq14", params=params)
    assert tied.best["A2"] == pytest.approx(-tied.best["A1"] * np.log(tied.best["tau0"]))
    alike = fit_series(SHORT, early_peak(), form="log_decay")
    assert tied.sse >= alike.sse * (1 - 1e-6)


def test_profiles_hold_the_truth_and_are_about_twice_the_standard_error():
    fit = fit_series(SHORT, early_peak(), form="eq14")
    intervals = fit.conf_interval("beta", "tau0")
    for name, true in (("beta", 12 / 4096), ("tau0", 30.0)):
        lower, upper = intervals[name]
        assert lower < fit.best[name] < upper
        assert lower < true < upper
        assert 3 < (upper - lower) / fit.stderr[name] < 5.5
    with pytest.raises(FitError, match="no parameter gamma"):
        fit.conf_interval("gamma")
    edge = fit_series(SHORT, 3 + 2 * np.log(SHORT + 9) + 1e-4 * SHORT)
    with pytest.raises(FitError, match="no profile: at_edge_b_zero"):
        edge.conf_interval()


@pytest.mark.parametrize(("form", "seeds"), [("eq14", 25), ("hill_decay", 5), ("bump", 5)])
def test_bands_cover_the_curve(form, seeds):
    truth = eq14(SHORT, 60.0, -100.0, 12 / 4096, 30.0, 25.0)
    inside = []
    for seed in range(seeds):
        fit = fit_series(SHORT, early_peak(seed), form=form)
        lower, upper = fit.band(SHORT)
        assert (lower <= fit.predict(SHORT)).all() and (upper >= fit.predict(SHORT)).all()
        inside.append((lower <= truth) & (truth <= upper))
    if form == "eq14":
        assert 0.88 < np.mean(inside) <= 1


def test_a_band_is_finite_where_the_parameters_are_not_determined():
    y = 3 + 2 * np.log(SHORT + 9) + 0.05 * np.random.default_rng(3).standard_normal(24)
    for form in ("eq9", "eq14"):
        lower, upper = fit_series(SHORT, y, form=form).band(SHORT)
        assert np.isfinite(lower).all() and np.median(upper - lower) < 0.3


def test_a_fit_survives_json_and_a_pickle():
    import pickle

    sequences = early_peak()[None] * (1 + 0.05 * np.random.default_rng(1).standard_normal((10, 24)))
    y = sequences.mean(axis=0)
    y[3] = np.nan
    for form, values in (("eq9", y), ("eq14", 3 + 2 * np.log(SHORT + 9) + 1e-4 * SHORT)):
        fit = fit_series(SHORT, values, form=form, sequences=sequences)
        for again in (CurveFit.from_json(fit.to_json()), pickle.loads(pickle.dumps(fit))):
            assert again.report() == fit.report() and again.regime is fit.regime and again.status is fit.status
            np.testing.assert_array_equal(again.predict(SHORT), fit.predict(SHORT))
            np.testing.assert_array_equal(again.values, fit.values)
            assert again.intervals.keys() == fit.intervals.keys()
    for broken in ("{", "[]", '{"form": "eq9"}'):
        with pytest.raises(FitError, match="not the JSON of a fit"):
            CurveFit.from_json(broken)


def test_hubers_loss_and_relative_weights_reach_one_curve():
    wild = early_peak()
    wild[12] *= 4
    plain, huber = (fit_series(SHORT, wild, form="eq14", loss=loss) for loss in ("squares", "huber"))
    truth = eq14(SHORT, 60.0, -100.0, 12 / 4096, 30.0, 25.0)
    rest = np.arange(24) != 12
    assert np.abs(huber.predict(SHORT) - truth)[rest].mean() < 0.5 * np.abs(plain.predict(SHORT) - truth)[rest].mean()
    assert huber.weights[12] < 0.5 * np.median(huber.weights)
    relative = fit_series(SHORT, early_peak(), form="eq14", weights="relative")
    assert np.argmax(relative.weights) == np.argmin(truth) and np.isfinite(relative.sse)
    with pytest.raises(FitError, match="'absolute'"):
        fit_series(SHORT, wild, weights="absolute")


def test_tensors_and_masked_and_nullable_series_are_fitted():
    import pandas as pd
    import torch

    y = early_peak()
    wild = np.where(np.arange(24) == 12, 1e6, y)
    missing = np.where(np.arange(24) == 12, np.nan, y)
    wanted = fit_series(SHORT, missing, form="eq14")
    for steps, values in (
        (torch.tensor(SHORT), torch.tensor(missing, requires_grad=True)),
        (SHORT, np.ma.masked_array(wild, mask=np.arange(24) == 12)),
        (pd.Series(SHORT.astype(int), dtype="Int64"), pd.Series(missing).convert_dtypes(infer_objects=False)),
    ):
        assert fit_series(steps, values, form="eq14").best == wanted.best
    half = torch.tensor(y, dtype=torch.bfloat16, requires_grad=True)
    assert fit_series(SHORT, half).best == fit_series(SHORT, half.detach().double().numpy()).best
    for values in (y + 0j, np.arange(24).astype("M8[s]")):
        with pytest.raises(FitError, match="values: not an array of numbers"):
            fit_series(SHORT, values)


def test_options_that_are_not_known_are_refused_by_name():
    y = early_peak()
    for options, message in (
        ({"loss": "hubert"}, "loss = 'hubert'"),
        ({"sequences": [y, y], "resamples": 0}, "resamples = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"params": [1.0]}, "params are a list"),
    ):
        with pytest.raises(FitError, match=message):
            fit_series(SHORT, y, **options)


def test_a_dict_of_starting_values_is_accepted():
    start = {"A1": 50.0, "A2": -80.0, "beta": 2e-3, "tau0": 25.0, "K": 30.0}
    fit = fit_series(SHORT, early_peak(), form="eq14", params=start)
    assert fit.status is FitStatus.OK
    assert fit.sse == pytest.approx(fit_series(SHORT, early_peak(), form="eq14").sse, rel=1e-6)


def test_a_fit_without_parameters_has_no_band_and_its_json_is_json():
    import json

    few = fit_series(SHORT[:3], [1.0, 2.0, 3.0])
    with pytest.raises(FitError, match="no band: few_points"):
        few.band(SHORT)
    with pytest.raises(FitError, match="level = 95"):
        fit_series(SHORT, early_peak()).band(SHORT, level=95.0)
    text = few.to_json()
    assert json.loads(text, parse_constant=lambda word: pytest.fail(word))["sse"] is None
    again = CurveFit.from_json(text)
    assert np.isnan([again.sse, again.r2, *again.stderr.values(), *again.derived.values()]).all()
    assert again.report() == few.report()
    from dataclasses import replace

    open_ended = replace(few, intervals={"peak_step": (3.0, np.inf), "f_end": (np.nan, np.nan)})
    read = CurveFit.from_json(open_ended.to_json()).intervals
    assert read["peak_step"] == (3.0, np.inf) and np.isnan(read["f_end"]).all()
