import numpy as np
import pytest

from massact.fit.forms import FORMS
from massact.fit.forms.eq14 import eq14
from massact.fit.judgement.group import fit_group
from massact.fit.judgement.regimes import Regime
from massact.fit.status import FitStatus
from tests.fit.curves import SHORT, series


def test_every_member_says_what_to_do():
    for member in [*Regime, *FitStatus]:
        assert len(member.text) > 30 and member.text.endswith(".")
    assert FitStatus.OK.sentence == "ok"
    assert FitStatus.FEW_POINTS.sentence.startswith("few_points: ")
    assert Regime("flat") is Regime.FLAT and FitStatus["OK"] == "ok"
    for form in FORMS.values():
        assert set(form.meaningless) | {edge.status for edge in form.edges} <= set(FitStatus)
    assert all(len(ending) <= 24 for ending in FitStatus)


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("early peak", {Regime.PLATEAU_SEEN, Regime.PEAK_WITHOUT_PLATEAU}),
        ("late peak", {Regime.PEAK_WITHOUT_PLATEAU, Regime.LOG_RISE}),
        ("log rise", {Regime.PEAK_WITHOUT_PLATEAU, Regime.LOG_RISE}),
    ],
)
def test_noise_free_curves_have_the_regime_they_were_made_for(kind, allowed):
    truth, _, _ = series(SHORT, 24, kinds=(kind,))
    group = fit_group("eq9", SHORT, truth, np.ones(SHORT.size))
    assert set(group.regime) <= {str(regime) for regime in allowed}
    peaked = np.isfinite(group.derived["peak_step"])
    assert (
        peaked[group.regime == Regime.PEAK_WITHOUT_PLATEAU].all() and not peaked[group.regime == Regime.LOG_RISE].any()
    )


def test_noise_is_flat_and_nothing_of_it_is_quoted():
    y = 20 + np.random.default_rng(0).standard_normal((64, SHORT.size))
    group = fit_group("eq9", SHORT, y, np.ones(SHORT.size))
    flat = group.regime == Regime.FLAT
    assert flat.mean() > 0.8
    assert not group.determined[flat].any()


def test_no_raw_parameter_of_eq9_is_quoted_on_a_log_rise():
    _, noisy, _ = series(SHORT, 64, kinds=("log rise",), noise=0.03)
    for form in ("eq9", "eq14"):
        group = fit_group(form, SHORT, noisy, np.ones(SHORT.size))
        rise = group.regime == Regime.LOG_RISE
        assert rise.mean() > 0.7
        free = {"eq9": set(), "eq14": {"A1", "tau0"}}[form]
        for j, name in enumerate(FORMS[form].parameters):
            assert name in free or not group.determined[rise, j].any()


def test_what_is_quoted_is_near_the_truth():
    truth, _, parameters = series(SHORT, 100, kinds=("early peak",))
    noisy = truth + 0.02 * np.ptp(truth, axis=1, keepdims=True) * np.random.default_rng(3).standard_normal(truth.shape)
    group = fit_group("eq14", SHORT, noisy, np.ones(SHORT.size))
    for j in (0, 2, 3):
        known = group.determined[:, j]
        assert known.sum() > 20
        assert np.median(np.abs(group.values[known, j] / parameters[known, j] - 1)) < 0.2


def test_a_seen_plateau_quotes_its_height():
    y = eq14(SHORT, 60.0, -100.0, 12 / 4096, 30.0, 25.0)[None]
    group = fit_group("eq9", SHORT, y + 0.5 * np.random.default_rng(0).standard_normal(y.shape), np.ones(SHORT.size))
    assert group.regime[0] == Regime.PLATEAU_SEEN and group.determined[0, 4]
