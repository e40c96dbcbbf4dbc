import dataclasses

import numpy as np
import pytest

from massact.fit import CurveFit, Regime, fit_joint, fit_many, fit_series
from massact.fit.forms import FORMS
from massact.fit.forms.eq14 import eq14
from massact.fit.judgement.group import fit_group
from massact.fit.judgement.regimes import Doubt
from massact.fit.judgement.verdict import judged

STEPS = np.r_[0, 2.0 ** np.arange(8), 167, 218, 285, 372, 485, 634, 827, 1080, 1410, 1841, 2403, 3137, 4096]
# Measured layers of small trained models: the ratio of largest to median at each checkpoint.
RISING_AGAIN = np.array(
    [5.48, 5.48, 5.5, 5.64, 5.96, 7.23, 5.84, 6.37, 10.96, 13.35, 18.53, 23.86, 25.32, 26.54, 29.14, 28.52, 28.73,
     29.79, 29.09, 31.15, 33.51, 34.16]
)  # fmt: skip
RISING_SLOWLY = np.array(
    [5.57, 5.47, 5.32, 5.69, 5.37, 7.24, 6.43, 11.06, 15.53, 19.07, 24.43, 28.58, 30.57, 33.27, 31.08, 34.0, 31.85,
     34.03, 35.36, 35.3, 37.19, 37.21]
)  # fmt: skip
RISING_IN_JUMPS = np.array(
    [4.94, 4.9, 4.71, 4.58, 3.87, 3.04, 5.32, 5.8, 10.62, 11.76, 15.01, 19.3, 19.54, 22.21, 23.29, 23.53, 23.05, 25.37,
     21.95, 25.37, 26.24, 27.61]
)  # fmt: skip
FALLING = np.array(
    [5.58, 5.51, 5.32, 5.13, 5.89, 6.09, 6.13, 4.95, 6.75, 8.27, 9.82, 13.49, 15.23, 18.69, 19.98, 22.31, 22.68, 24.95,
     21.73, 20.75, 20.76, 20.89]
)  # fmt: skip
SETTLED = np.array(
    [5.26, 5.27, 5.66, 6.26, 4.83, 6.58, 6.8, 10.51, 15.04, 17.92, 22.89, 26.17, 27.7, 29.43, 27.16, 30.29, 27.73,
     28.56, 29.22, 29.06, 30.24, 28.72]
)  # fmt: skip
STILL_CLIMBING = np.array(
    [4.97, 5.0, 4.87, 4.31, 3.21, 2.63, 4.79, 5.85, 11.11, 12.72, 15.89, 19.68, 19.5, 21.99, 23.0, 23.29, 24.17, 27.78,
     25.02, 29.43, 30.9, 31.44]
)  # fmt: skip


@pytest.mark.parametrize("form", ["eq9", "eq14", "step1", "step2"])
@pytest.mark.parametrize("values", [RISING_AGAIN, RISING_SLOWLY, RISING_IN_JUMPS, FALLING])
def test_a_plateau_that_the_last_values_or_other_forms_contradict_is_disputed(form, values):
    fit = fit_series(STEPS, values, form=form)
    assert fit.regime is Regime.DISPUTED and fit.doubts
    assert not any(fit.determined[name] for name in FORMS[form].with_plateau)
    report = fit.report()
    assert (
        "regime disputed" in report and fit.doubts[0].text in report and "+-" not in report.split("not determined,")[1]
    )


def test_a_settled_layer_keeps_its_plateau():
    fit = fit_series(STEPS, SETTLED)
    assert fit.regime is Regime.PLATEAU_SEEN and fit.determined["K"] and fit.doubts == ()


def test_values_at_an_end_that_departs_from_the_curve_are_not_quoted():
    report = fit_series(STEPS, RISING_AGAIN).report()
    assert "value at the last step         not determined" in report and "at the end, df/d(ln t)   not" in report


def test_a_plateau_of_a_step_form_is_disputed_if_a_better_form_rises():
    for form in ("step1", "step2"):
        fit = fit_series(STEPS, STILL_CLIMBING, form=form)
        assert fit_series(STEPS, STILL_CLIMBING, form="eq14").regime is Regime.LOG_RISE
        assert fit.regime is Regime.DISPUTED and not fit.determined["K"]
    rise = 5 + 4 * np.log1p(STEPS / 40) + 0.05 * np.random.default_rng(0).standard_normal(STEPS.size)
    assert fit_series(STEPS, rise, form="step2").regime is Regime.DISPUTED


def test_a_layer_whose_largest_value_is_the_last_has_no_peak():
    fit = fit_series(STEPS, STILL_CLIMBING)
    assert np.isfinite(fit.derived["peak_step"]) <= (fit.derived["peak_step"] < STEPS[-1])
    assert not fit.peak_determined and fit.regime is Regime.LOG_RISE
    bump = eq14(STEPS, 60.0, -350.0, 1.3 / 4096, 300.0, 20.0)
    bump[-1] = bump.max() + 5
    assert not fit_series(STEPS, bump).peak_determined


def test_a_peak_needs_a_bounded_step():
    y = eq14(STEPS, 60.0, -250.0, 4 / 4096, 60.0, 20.0)[None]
    y = y + 0.3 * np.random.default_rng(0).standard_normal(y.shape)
    group = fit_group("eq14", STEPS, y, np.ones(STEPS.size))
    assert judged(group, STEPS, y, peak_upper=np.array([2000.0])).peak_determined[0]
    for upper in (np.inf, np.nan):
        refused = judged(group, STEPS, y, peak_upper=np.array([upper]))
        assert not refused.peak_determined[0] and Doubt.PEAK_UNBOUNDED in refused.doubts[0]


def test_plateaus_and_peaks_that_are_there_stay():
    rng = np.random.default_rng(4)
    early = eq14(STEPS, 60.0, -250.0, 14 / 4096, 60.0, 25.0)
    y = early * (1 + 0.02 * rng.standard_normal((60, STEPS.size)))
    out = fit_many(STEPS, y, form="eq14")
    assert out["peak_determined"].mean() > 0.95
    assert (out["regime"] == "plateau_seen").mean() > 0.7 and out["K_determined"].mean() > 0.7


def test_what_does_not_settle_is_not_quoted():
    rng = np.random.default_rng(5)
    pause = 30 - 25 * np.exp(-STEPS / 150) + 5 * np.log(np.maximum(STEPS / 1200, 1))
    y = pause * (1 + 0.03 * rng.standard_normal((60, STEPS.size)))
    out = fit_many(STEPS, y)
    assert out["K_determined"].mean() < 0.05 and not out["peak_determined"].any()


@pytest.mark.parametrize("form", [name for name, form in FORMS.items() if form.with_plateau])
def test_one_curve_and_many_are_judged_alike(form):
    values = np.stack([RISING_AGAIN, FALLING, SETTLED, STILL_CLIMBING])
    each = values * (1 + 0.03 * np.random.default_rng(6).standard_normal((8, 4, 1)))
    many = fit_many(STEPS, values, form=form, sequences=each, resamples=20)
    for row, fit in enumerate(
        fit_series(STEPS, y, form=form, sequences=each[:, i], resamples=20) for i, y in enumerate(values)
    ):
        assert (fit.regime, fit.peak_determined) == (many["regime"][row], many["peak_determined"][row])
        assert ", ".join(fit.doubts) == many["doubts"][row]
        assert fit.determined == {name: many[f"{name}_determined"][row] for name in FORMS[form].parameters}


def test_the_numbers_of_a_fit_are_those_of_before_the_judgement():
    y = np.stack([RISING_AGAIN, FALLING])
    group = fit_group("eq9", STEPS, y, np.ones(STEPS.size))
    after = judged(group, STEPS, y)
    words = {"regime", "determined", "peak_determined", "doubts"}
    for field in dataclasses.fields(group):
        if field.name not in words:
            assert getattr(after, field.name) is getattr(group, field.name)
    alone = fit_many(STEPS, y, rivals=False)
    assert (alone["sse"] == group.sse).all() and alone["doubts"].tolist() == ["end_departs", ""]


def test_a_joint_fit_is_judged_too():
    y = np.stack([RISING_AGAIN, RISING_SLOWLY, RISING_IN_JUMPS, FALLING, SETTLED])
    out = fit_joint(STEPS, y)
    assert not out["K_determined"][:4].any()
    assert not (out["regime"][:4] == "plateau_seen").any()
    assert out["doubts"][0] == "end_departs"


def test_doubts_survive_json():
    fit = fit_series(STEPS, RISING_AGAIN)
    again = CurveFit.from_json(fit.to_json())
    assert again.doubts == fit.doubts == (Doubt.END,) and again.peak_determined is fit.peak_determined
    assert all(len(doubt.text) > 30 and doubt.text.endswith(".") for doubt in Doubt)
