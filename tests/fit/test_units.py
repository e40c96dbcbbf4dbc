import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massact.errors import FitError
from massact.fit import FORMS, CurveFit, FitStatus, Regime, compare_forms, fit_joint, fit_many, fit_series
from massact.fit.forms import Unit
from massact.fit.units import DERIVED_UNITS, beyond_doubles, parameters_in, units_of

T = np.r_[0, 2.0 ** np.arange(14)]
Y = 3 + 2 * np.log1p(T / 20) * np.exp(-T / 500) + 0.02 * np.random.default_rng(0).standard_normal(T.size)
ONES = np.ones((1, T.size))


def test_nothing_is_scaled_in_the_ordinary_range():
    for scale in (1e-28, 1.0, 1e28):
        assert units_of("eq9", T, Y[None] * scale, ONES * scale).ordinary
    assert units_of("eq9", T, np.full((1, T.size), np.nan), ONES).ordinary
    assert units_of("eq9", np.zeros(0), np.zeros((2, 0)), np.zeros((2, 0))).ordinary


def test_units_are_powers_of_two_of_each_curve():
    units = units_of("eq14", T * 1e-300, np.stack([Y, Y * 1e200, Y * 5e-324]), ONES * 1e-200)
    assert units.value[0] == 1 and not units.ordinary
    for unit in (units.step, units.weight, *units.value.tolist()):
        assert np.frexp(unit)[0] == 0.5
    assert 2.0**16 <= T[-1] * 1e-300 / units.step <= 2.0**17


@pytest.mark.parametrize("form", FORMS)
def test_parameters_come_back(form):
    units = units_of(form, T if form == "bump" else T * 1e-250, Y[None] * 1e-200, ONES)
    values = np.arange(2.0, 2 + len(FORMS[form].parameters))[None]
    back = parameters_in(form, values, units, back=True)
    np.testing.assert_allclose(parameters_in(form, back, units), values, rtol=1e-12)
    assert not beyond_doubles(values, back)[0]
    drawn = FORMS[form].value(T * units.step, *back[0]) / units.value[0]
    np.testing.assert_allclose(drawn, FORMS[form].value(T, *values[0]), rtol=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(list(FORMS)),
    st.one_of(st.sampled_from([-1000, 1000, 664, -664]), st.integers(-1000, 980)),
    st.one_of(st.just(0), st.integers(-960, 960)),
    st.one_of(st.just(0), st.integers(-900, 900)),
)
def test_a_fit_does_not_depend_on_the_scale_of_values_steps_and_weights(form, by_value, by_step, by_weight):
    step = 0 if form == "bump" else by_step
    value_scale, step_scale = 2.0**by_value, 2.0**step
    t, y, w = T * step_scale, Y * value_scale, np.full(T.size, 2.0**by_weight)
    plain = fit_many(T, Y[None], form=form, rivals=False).iloc[0]
    fit = fit_many(t, y[None], form=form, weights=w, rivals=False).iloc[0]
    if fit["status"] == FitStatus.BEYOND_DOUBLES.sentence:
        assert fit["regime"] == "failed" and not fit[f"{FORMS[form].parameters[0]}_determined"]
        assert np.isnan(fit[list(FORMS[form].parameters)].astype(float)).all()
        return
    assert fit["regime"] == plain["regime"] and fit["status"] == plain["status"]
    assert fit["r2"] == pytest.approx(plain["r2"], rel=1e-6)
    for name in ("aic", "aicc", "bic"):
        shift = 2 * T.size * (by_value + by_weight) * np.log(2)
        assert fit[name] == pytest.approx(plain[name] + shift, rel=1e-6, abs=1e-3)
    sizes = {Unit.VALUES: value_scale, Unit.STEPS: step_scale}
    for name, unit in DERIVED_UNITS.items():
        assert fit[name] / sizes.get(unit, 1.0) == pytest.approx(plain[name], rel=1e-3, abs=1e-6, nan_ok=True)
    drawn = FORMS[form].value(t, *fit[list(FORMS[form].parameters)].astype(float)) / value_scale
    np.testing.assert_allclose(drawn, FORMS[form].value(T, *plain[list(FORMS[form].parameters)]), atol=5e-3)


@pytest.mark.parametrize(("value", "step", "weight"), [(1e200, 1, 1), (1e-200, 1e250, 1), (1, 1e-300, 1e200)])
def test_one_curve_near_the_ends_of_floating_point(value, step, weight):
    plain = fit_series(T, Y, form="eq14")
    each = Y * (1 + 0.05 * np.random.default_rng(1).standard_normal((6, T.size)))
    fit = fit_series(T * step, Y * value, form="eq14", weights=np.full(T.size, weight), sequences=each * value)
    assert fit.r2 == pytest.approx(plain.r2) and fit.regime is plain.regime and fit.status is FitStatus.OK
    assert fit.aicc == pytest.approx(plain.aicc + 2 * T.size * (np.log(value) + np.log(weight)), rel=1e-6)
    for mine, theirs in zip(fit.band(T * step), plain.band(T), strict=True):
        np.testing.assert_allclose(mine / value, theirs, rtol=1e-2)
    assert fit.stderr["K"] / value == pytest.approx(plain.stderr["K"], rel=0.05)
    assert fit.intervals["f_end"][0] <= fit.derived["f_end"] <= fit.intervals["f_end"][1]
    assert fit.sse != 0 and (np.isnan(fit.sse) or np.isfinite(fit.sse))
    again = CurveFit.from_json(fit.to_json())
    assert again.report() == fit.report() and again.aicc == pytest.approx(fit.aicc)


def test_parameters_that_no_double_holds_are_not_given():
    t = np.arange(40.0)
    fall = (20 + 30 * np.exp(-t / 5)) * 1e250  # an exponential takes Eq. 9's gamma to its cap
    row = fit_many(t, fall[None]).iloc[0]
    fit = fit_series(t, fall)
    assert row["status"].startswith("beyond_doubles: ") and fit.status is FitStatus.BEYOND_DOUBLES
    assert fit.regime is Regime.FAILED and np.isnan(fit.predict(t)).all() and "beyond_doubles" in fit.report()
    assert fit_series(t, fall, form="eq14").r2 == pytest.approx(1)


def test_comparisons_and_joint_fits_take_any_scale():
    forms = ["eq9", "log", "step1"]
    plain, scaled = compare_forms(T, Y[None], forms=forms), compare_forms(T * 1e200, Y[None] * 1e200, forms=forms)
    np.testing.assert_allclose(scaled["akaike_weight"], plain["akaike_weight"], rtol=1e-3)
    np.testing.assert_allclose(scaled["tail_error"], plain["tail_error"], rtol=1e-3)
    curves = Y + np.arange(4.0)[:, None]
    plain, scaled = fit_joint(T, curves), fit_joint(T * 1e200, curves * 1e-200)
    np.testing.assert_allclose(scaled["log_tau0"] - np.log(1e200), plain["log_tau0"], atol=1e-3)
    np.testing.assert_allclose(scaled["log_beta_lower"] + np.log(1e200), plain["log_beta_lower"], atol=1e-3)
    np.testing.assert_allclose(scaled["K"] / 1e-200, plain["K"], rtol=1e-3)


def test_what_has_no_scale_is_refused():
    with pytest.raises(FitError, match=r"'bump' counts them in a unit of its own: .* log\(1 \+ t\)"):
        fit_many(T * 1e200, Y[None], form="bump")
    with pytest.raises(FitError, match="params need values"):
        fit_series(T, Y * 1e200, form="step1", params={"K": 1e200, "tau": 10.0})
    with pytest.raises(FitError, match="more than 20 decades"):
        fit_series(np.r_[0, 1e-300, T[1:]], np.r_[3.0, Y])
