"""Requirements on every registered form, massact's own or another package's."""

import pickle

import numpy as np
import pytest

from massact.fit import CurveFit, fit_many, fit_series
from massact.fit.forms import FORMS
from tests.fit.curves import PYTHIA

T = PYTHIA[::4]
EVERY = pytest.mark.parametrize("form", FORMS)


def row_of(form) -> np.ndarray:
    return np.array(FORMS[form].example)[None]


@EVERY
def test_it_says_what_it_is(form):
    chosen = FORMS[form]
    assert chosen.name == form and chosen.title and chosen.formula and chosen.family in FORMS
    assert chosen.colour.startswith("#") and len(chosen.colour) == 7
    assert len(set(chosen.parameters)) == len(chosen.parameters) == len(chosen.example)
    for names in (*chosen.meaningless.values(), chosen.extrapolated, chosen.with_plateau, chosen.unknown_in_units):
        assert set(names) <= set(chosen.parameters)
    assert {edge.rate for edge in chosen.edges} <= set(range(len(chosen.box(T))))
    assert chosen.special_case_of in ("", *FORMS) and chosen.drawn_by in ("", *FORMS)


def test_colours_differ():
    assert len({form.colour for form in FORMS.values()}) == len(FORMS)


@EVERY
@pytest.mark.parametrize("first", [0, 5])
def test_parameters_and_rates_lead_to_each_other(form, first):
    chosen, row, t = FORMS[form], row_of(form), T[first:]
    rates = chosen.rates_of(row, float(t[0]))
    columns = np.stack([np.broadcast_to(c, (1, t.size)) for c in chosen.columns(t, rates)], axis=2)[0]
    curve = chosen.value(t, *row[0])
    a, *_ = np.linalg.lstsq(columns, curve, rcond=None)
    np.testing.assert_allclose(columns @ a, curve, rtol=1e-7)
    np.testing.assert_allclose(chosen.parameters_of(a[None], rates, float(t[0])), row, rtol=1e-5)


@EVERY
def test_its_own_curve_is_recovered(form):
    chosen, row = FORMS[form], row_of(form)
    curve = chosen.value(T, *row[0])
    fit = fit_many(T, curve[None], form=form).iloc[0]
    assert fit["r2"] > 1 - 1e-10
    np.testing.assert_allclose(fit[list(chosen.parameters)].astype(float), row[0], rtol=2e-2)


@pytest.mark.parametrize("form", [name for name, form in FORMS.items() if form.scale_free])
def test_units_of_the_steps_do_not_change_the_curve(form):
    chosen, row = FORMS[form], row_of(form)
    from massact.fit.units import Units, parameters_in

    units = Units(1000.0, np.array([8.0]), 1.0)
    inside = parameters_in(form, row, units)
    np.testing.assert_allclose(chosen.value(T / 1000, *inside[0]) * 8, chosen.value(T, *row[0]), rtol=1e-9)
    np.testing.assert_allclose(parameters_in(form, inside, units, back=True), row, rtol=1e-9)


@EVERY
def test_its_fits_survive_json_and_pickle(form):
    fit = fit_series(T, FORMS[form].value(T, *row_of(form)[0]) + np.sin(T), form=form)
    for again in (CurveFit.from_json(fit.to_json()), pickle.loads(pickle.dumps(fit))):
        assert again.best == fit.best and again.derived == pytest.approx(fit.derived, nan_ok=True)
        np.testing.assert_array_equal(again.predict(T), fit.predict(T))


@EVERY
def test_no_formula_of_another_form_is_used(form):
    """Derived quantities agree with the curve itself on a dense grid."""
    chosen, row, dense = FORMS[form], row_of(form), np.linspace(0, T[-1], 200_001)
    curve = chosen.value(dense, *row[0])
    fit = fit_many(T, chosen.value(T, *row[0])[None], form=form).iloc[0]
    assert fit["peak_value"] == pytest.approx(np.nanmax(curve), rel=1e-4)
    if np.isfinite(fit["peak_step"]):
        assert fit["peak_step"] == pytest.approx(dense[np.nanargmax(curve)], rel=1e-2)
    numeric = np.gradient(curve[-3:], np.log(dense[-3:]))[-1]
    assert fit["end_slope"] == pytest.approx(numeric, rel=1e-2, abs=1e-3 * np.ptp(curve))
