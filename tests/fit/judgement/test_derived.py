import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massact.fit.forms import FORMS, eq9_from_eq14
from massact.fit.forms.eq14 import peak_step
from massact.fit.judgement.derived import derived
from massact.fit.schemas import DERIVED
from tests.fit.curves import SHORT, series

DENSE = np.r_[0, np.geomspace(1e-2, 4096, 200_000)]


@pytest.mark.parametrize("form", ["eq9", "eq14"])
def test_quantities_agree_with_a_dense_grid(form):
    _, _, parameters = series(SHORT, 40)
    values = parameters if form == "eq14" else np.stack(eq9_from_eq14(*parameters.T)[:5], axis=1)
    out = derived(form, values, 0.0, 4096.0)
    assert tuple(out) == DERIVED
    for i, row in enumerate(values):
        f = FORMS[form].value(DENSE, *row)
        top = f.argmax()
        assert out["f_start"][i] == pytest.approx(f[0])
        assert out["f_end"][i] == pytest.approx(f[-1])
        assert out["peak_value"][i] == pytest.approx(f[top], rel=1e-6)
        if 0 < top < DENSE.size - 1:
            assert out["peak_step"][i] == pytest.approx(DENSE[top], rel=1e-3)
        else:
            assert np.isnan(out["peak_step"][i])
        if top == 0:
            assert np.isnan(out["half_rise_step"][i])
        else:
            half = DENSE[np.argmax(f >= (f[0] + f[top]) / 2)]
            assert out["half_rise_step"][i] == pytest.approx(half, rel=1e-3, abs=1e-2)
        slope = (f[-1] - f[-2]) / np.log(DENSE[-1] / DENSE[-2])
        assert out["end_slope"][i] == pytest.approx(slope, rel=1e-2, abs=1e-3 * np.ptp(f))
        assert out["decay_share"][i] == pytest.approx(1 - np.exp(-parameters[i, 2] * 4096))


@given(st.floats(0.1, 100), st.floats(-1e6, 1e6), st.floats(-60, 3), st.floats(1e-3, 1e6))
def test_the_peak_never_overflows_and_is_stationary(A1, c, log_beta, tau0):
    beta = np.exp(log_beta)
    t = peak_step(A1, A1 * c, beta, tau0)
    assert not np.isnan(t)
    x = t + tau0
    if np.isfinite(t) and x > 1e-3 * tau0 and x > 1e-6:
        w = np.log(x) + c
        assert 1 / (beta * x) == pytest.approx(w, rel=1e-6, abs=1e-9 * abs(c))


def test_the_papers_formula_agrees_where_it_does_not_overflow():
    from scipy.special import lambertw

    A, lam, gamma, t0 = 2.0, 0.05, 0.01, 0.5
    expected = (np.exp(lambertw(1 / lam).real) - t0) / gamma
    A1 = A * np.exp(-lam * t0)
    assert peak_step(A1, A1 * np.log(gamma), lam * gamma, t0 / gamma) == pytest.approx(expected, rel=1e-12)


def test_no_maximum_without_a_positive_logarithm():
    assert np.isnan(peak_step(-1.0, 2.0, 0.1, 1.0)) and np.isnan(peak_step(0.0, 2.0, 0.1, 1.0))


def test_step_forms():
    one = derived("step1", np.array([[10.0, 100.0]]), 0.0, 1000.0)
    assert np.isnan(one["peak_step"][0])
    assert one["half_rise_step"][0] == pytest.approx(100 * np.log(2), rel=1e-3)
    assert one["end_slope"][0] == pytest.approx(10 * 10 * np.exp(-10))
    zeta, omega = 0.3, 0.01
    two = derived("step2", np.array([[10.0, zeta, omega], [-10.0, zeta, omega], [10.0, 2.0, omega]]), 0.0, 1000.0)
    assert two["peak_step"][0] == pytest.approx(np.pi / omega / np.sqrt(1 - zeta**2))
    assert two["peak_value"][0] == pytest.approx(10 * (1 + np.exp(-np.pi * zeta / np.sqrt(1 - zeta**2))))
    assert np.isnan(two["peak_step"][1:]).all() and two["peak_value"][1] == 0
    assert two["half_rise_step"][0] < two["peak_step"][0]
    assert FORMS["step2"].slowest_rate(np.array([[1.0, 100.0, 2.0]]))[0] == pytest.approx(0.01, rel=1e-4)


def test_curves_that_are_not_there_have_no_quantities():
    out = derived("eq9", np.full((2, 5), np.nan), 0.0, 10.0)
    assert all(np.isnan(value).all() for value in out.values())
