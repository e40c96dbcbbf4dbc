import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.special import lambertw

from massact.errors import FitError
from massact.fit.forms import FORMS, curve_values, eq9_from_eq14, eq14_from_eq9, get_form
from massact.fit.forms.eq9 import eq9
from massact.fit.forms.eq14 import eq14
from massact.fit.forms.step1 import step1
from massact.fit.forms.step2 import step2
from massact.fit.schemas import fits_schema

T = np.r_[0.0, np.geomspace(1, 143000, 60)]
rates = st.floats(1e-9, 10)


def test_published_example_parameters_are_eq14_of_the_same_curve():
    published = (
        0.1991413262927913,
        0.1245164347289605,
        0.00011243504071098889,
        0.6212193145868949,
        0.12193486521476592,
    )
    converted = eq14_from_eq9(*published)
    assert converted.tau0 == pytest.approx(5525.1397, rel=1e-6)
    np.testing.assert_allclose(eq14(T, *converted), eq9(T, *published), rtol=1e-12)


@given(
    A=st.floats(-1e4, 1e4).filter(lambda A: abs(A) > 1e-6),
    lam=st.floats(1e-6, 5),
    log_gamma=st.floats(-25, 5),
    t0=st.floats(1e-6, 100),
    K=st.floats(-1e4, 1e4),
)
def test_conversions_return_where_they_came_from(A, lam, log_gamma, t0, K):
    gamma = np.exp(log_gamma)
    back = eq9_from_eq14(*eq14_from_eq9(A, lam, gamma, t0, K))
    assert back.determined
    np.testing.assert_allclose([float(value) for value in back[:5]], [A, lam, gamma, t0, K], rtol=1e-9)
    span = abs(A) * 1e-9
    values = eq14(T, *eq14_from_eq9(A, lam, gamma, t0, K))
    np.testing.assert_allclose(values, eq9(T, A, lam, gamma, t0, K), rtol=1e-9, atol=span)


def test_gamma_beyond_a_double_is_marked_not_silent():
    out = eq9_from_eq14([1.0, 1.0, 1.0, 0.0], [2000.0, -2000.0, 2.0, 1.0], 1e-4, 100.0, 0.0)
    assert out.determined.tolist() == [False, False, True, False]
    assert out.log_gamma[:3].tolist() == [2000.0, -2000.0, 2.0]
    assert not eq9_from_eq14(1.0, 1.0, 1.0, 1e4, 0.0).determined  # A = e^{beta tau0}


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), rates, st.floats(1e-3, 1e7), st.floats(-1e3, 1e3))
def test_eq14_is_a_number_on_every_step(A1, A2, beta, tau0, K):
    assert np.isfinite(eq14(T, A1, A2, beta, tau0, K)).all()


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), rates)
def test_step2_is_a_number_and_bounded(K, zeta, omega):
    f = step2(T, K, zeta, omega)
    assert np.isfinite(f).all() and f[0] == pytest.approx(0, abs=1e-12 * max(abs(K), 1))
    assert (np.abs(f) <= 2 * abs(K) + 1e-9).all()


@pytest.mark.parametrize("zeta", [0.05, 0.5, 0.999, 1.0, 1.001, 3.0, 40.0])
def test_step2_solves_its_differential_equation(zeta):
    t = np.linspace(0, 12, 25)

    def motion(_, f):
        return [f[1], 1.3**2 * (2.0 - f[0]) - 2 * zeta * 1.3 * f[1]]

    solution = solve_ivp(motion, (0, 12), [0, 0], t_eval=t, rtol=1e-10, atol=1e-12, method="LSODA")
    np.testing.assert_allclose(step2(t, 2.0, zeta, 1.3), solution.y[0], atol=1e-7)


def test_step2_is_continuous_in_the_damping_and_tends_to_step1():
    t = np.linspace(0, 30, 50)
    for low, high in ((1 - 1e-9, 1.0), (1.0, 1 + 1e-9), (1.0, 1 + 1e-13)):
        np.testing.assert_allclose(step2(t, 1.0, low, 0.7), step2(t, 1.0, high, 0.7), atol=1e-7)
    np.testing.assert_allclose(step2(t, 1.0, 1e6, 2e5), step1(t, 1.0, 10.0), atol=1e-9)


def test_eq9_peak_is_at_the_lambert_w_of_the_paper():
    lam, gamma, t0 = 0.3, 0.01, 0.5
    x = np.exp(lambertw(1 / lam).real)
    t = (x - t0) / gamma
    around = eq9(t + np.array([-1.0, 0.0, 1.0]), 2.0, lam, gamma, t0, 1.0)
    assert around.argmax() == 1


def test_outside_the_logarithm_is_nan():
    assert np.isnan(eq9(0.0, 1.0, 1.0, 1.0, 0.0, 0.0)) and np.isnan(eq14(0.0, 1.0, 1.0, 1.0, 0.0, 0.0))


def test_forms_have_the_parameters_of_the_table():
    for name, form in FORMS.items():
        assert set(form.parameters) <= set(fits_schema(name).columns)
    assert FORMS["eq9"].arguments == ("A", "lam", "gamma", "t0", "K")


def test_curve_values_takes_a_row_and_refuses_another_form():
    row = {"K": 2.0, "tau": 10.0, "r2": 0.9}
    np.testing.assert_allclose(curve_values("step1", row, [0.0, 10.0]), [0.0, 2 * (1 - np.exp(-1))])
    with pytest.raises(FitError, match="no value for A, lambda"):
        curve_values("eq9", row, 1.0)


@pytest.mark.parametrize(("typed", "meant"), [("eq19", "eq9"), ("EQ14", "eq14"), ("step", "step")])
def test_an_unknown_form_names_the_nearest(typed, meant):
    with pytest.raises(FitError, match=f"did you mean '{meant}"):
        get_form(typed)
