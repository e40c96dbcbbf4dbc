import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massact.fit.forms import FORMS
from massact.fit.forms.step2 import step2, step_response_by_zeta

T = np.r_[0.0, np.geomspace(1, 143000, 40)]


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_the_derivatives(form):
    chosen, row = FORMS[form], np.array(FORMS[form].example)
    gradient = chosen.gradient(T, *row)
    assert len(gradient) == len(chosen.parameters)
    for j, part in enumerate(gradient):
        h = 1e-6 * np.abs(row[j]) * (np.arange(row.size) == j)
        numeric = (chosen.value(T, *(row + h)) - chosen.value(T, *(row - h))) / (2 * h[j])
        np.testing.assert_allclose(
            np.broadcast_to(part, T.shape), numeric, rtol=1e-5, atol=1e-7 * np.abs(numeric).max()
        )


@settings(deadline=None, max_examples=60)
@given(log_zeta=st.floats(-3, 4.6), s=st.floats(1e-3, 50))
def test_the_derivative_in_the_damping_is_right_on_both_sides_of_critical(log_zeta, s):
    zeta, h = np.exp(log_zeta), 1e-5
    numeric = (step2(s, 1.0, zeta * np.exp(h), 1.0) - step2(s, 1.0, zeta * np.exp(-h), 1.0)) / (2 * h * zeta)
    got = step_response_by_zeta(np.array([s]), np.array([zeta]))[0]
    assert got == pytest.approx(float(numeric), rel=1e-4, abs=1e-8 / zeta + 1e-9)


@pytest.mark.parametrize(
    ("form", "limit", "parameters", "same"),
    [
        ("eq14", "log", [5.0, -5 * np.log(300.0), 0.0, 300.0, 2.0], [5.0, 300.0, 2.0]),
        ("eq14", "log_decay", [5.0, -5 * np.log(300.0), 1e-5, 300.0, 2.0], [5.0, 1e-5, 300.0, 2.0]),
        ("hill_decay", "hill", [40.0, 5e3, 1.5, 0.0, 3.0], [40.0, 5e3, 1.5, 3.0]),
        ("power", "log", [5e8, 300.0, 1e-8, 2.0], [5.0, 300.0, 2.0]),
        ("bump", "log", [0.0, 5e3, 1.0, 5.0, 2.0], [5.0, 1.0, 2.0]),
    ],
)
def test_forms_have_the_limits_they_state(form, limit, parameters, same):
    np.testing.assert_allclose(FORMS[form].value(T, *parameters), FORMS[limit].value(T, *same), rtol=1e-6)


@pytest.mark.parametrize("form", ["log", "log_decay", "hill", "hill_decay", "bump", "power"])
def test_forms_that_begin_at_their_level_do(form):
    assert FORMS[form].value(0.0, *FORMS[form].example) == pytest.approx(FORMS[form].example[-1])
