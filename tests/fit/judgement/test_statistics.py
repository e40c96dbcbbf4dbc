import numpy as np
import pytest

from massact.fit.forms import FORMS
from massact.fit.forms.eq14 import eq14
from massact.fit.judgement.bootstrap import widening
from massact.fit.judgement.group import fit_group
from massact.fit.judgement.statistics import information, standard_errors
from massact.fit.status import FitStatus
from tests.fit.curves import PYTHIA, SHORT

W = np.ones(SHORT.size)
OK = np.array([str(FitStatus.OK)])
ROWS = {
    "eq9": [20.0, 0.02, 0.03, 0.6, 25.0],
    "eq14": [20.0, -70.0, 2e-3, 20.0, 25.0],
    "step1": [30.0, 200.0],
    "step2": [30.0, 0.4, 0.01],
}


@pytest.mark.parametrize("t", [SHORT, SHORT[5:]], ids=["from 0", "from 16"])
@pytest.mark.parametrize("form", ROWS)
def test_standard_errors_are_those_of_the_raw_jacobian(form, t):
    row = np.array(ROWS[form])
    steps = 1e-6 * np.abs(row)
    J = np.stack(
        [(FORMS[form].value(t, *(row + h)) - FORMS[form].value(t, *(row - h))) / (2 * h.max()) for h in np.diag(steps)],
        axis=1,
    )
    w = 1 / (1 + t / 1000)
    sse = 7.0
    scaled = J * w[:, None]
    expected = np.sqrt(np.diag(np.linalg.inv(scaled.T @ scaled)) * sse / (t.size - row.size))
    got = standard_errors(form, row[None], t, w, np.array([sse]), OK)[0]
    np.testing.assert_allclose(got, expected, rtol=1e-3)


def test_standard_errors_cover_where_the_plateau_is_seen():
    rng = np.random.default_rng(0)
    parameters = np.array([60.0, -240.0, 10 / PYTHIA[-1], 300.0, 25.0])
    truth = eq14(PYTHIA, *parameters)
    group = fit_group("eq14", PYTHIA, truth + 2 * rng.standard_normal((200, PYTHIA.size)), np.ones(PYTHIA.size))
    z = (group.values - parameters) / group.stderr
    assert (np.abs(z) < 1.96).mean(axis=0) == pytest.approx(0.95, abs=0.05)
    assert group.determined[:, [0, 2, 4]].mean() > 0.9


def test_a_singular_jacobian_has_no_errors():
    row = np.array([[0.0, 1.0, 1e-3, 1.0, 5.0]])
    assert np.isnan(standard_errors("eq9", row, SHORT, W, np.array([1.0]), OK)[0, :4]).all()


def test_information_criteria_are_lmfits():
    out = information(np.array([3.0, 0.0]), 10, 2)
    assert out["aic"][0] == pytest.approx(10 * np.log(0.3) + 4)
    assert out["bic"][0] == pytest.approx(10 * np.log(0.3) + 2 * np.log(10))
    assert out["aicc"][0] == pytest.approx(out["aic"][0] + 12 / 7)
    assert np.isnan(out["aic"][1]) and np.isnan(information(np.ones(1), 3, 2)["aicc"][0])


def test_ten_sequences_widen_by_a_fifth():
    assert widening(10) == pytest.approx(1.217, abs=1e-3)
