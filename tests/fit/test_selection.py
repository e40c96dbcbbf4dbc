import numpy as np
import pandas as pd
import pytest

from massact.errors import FitError
from massact.fit import best_form, compare_forms
from massact.fit.forms import FORMS
from tests.fit.curves import PYTHIA

T = PYTHIA[::4]
ROWS = {"hill": [60.0, 2e4, 2.5, 10.0], "bump": [80.0, 2e4, 0.8, 2.0, 10.0], "eq14": [60.0, -280.0, 7e-5, 300.0, 20.0]}


@pytest.fixture(scope="module")
def comparison() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    y = np.array([FORMS[form].value(T, *row) for form, row in ROWS.items()])
    return compare_forms(T, y * (1 + 0.03 * rng.standard_normal(y.shape)), weights="relative")


def test_bic_finds_the_form_that_made_a_curve(comparison):
    assert best_form(comparison)["family"].tolist() == ["hill", "bump", "eq9"]


def test_weights_sum_to_one_and_rank_as_aicc(comparison):
    for _, rows in comparison.groupby("curve"):
        assert rows["akaike_weight"].sum() == pytest.approx(1)
        assert rows["akaike_weight"].idxmax() == rows["aicc"].idxmin()
        assert rows["bic"].is_monotonic_increasing


def test_more_parameters_never_fit_worse(comparison):
    r2 = comparison.pivot_table(index="curve", columns="form", values="r2")
    for child, parent in (("log", "log_decay"), ("log_decay", "eq9"), ("hill", "hill_decay")):
        assert (r2[parent] >= r2[child] - 1e-3).all()


def test_the_tail_is_held_out():
    y = 3 + 2 * np.log1p(T / 300)[None]
    before = compare_forms(T, y, forms=["log"])["tail_error"][0]
    moved = y.copy()
    moved[:, 0.5 * T[-1] < T] *= 2
    after = compare_forms(T, moved, forms=["log"])["tail_error"][0]
    assert before < 1e-6 and after == pytest.approx(0.5, abs=1e-3)


def test_what_cannot_be_compared_is_refused():
    for options, message in (
        ({"forms": []}, "no forms"),
        ({"tail": 1.0}, "between 0 and 1"),
        ({"forms": ["cube"]}, "cube"),
    ):
        with pytest.raises(FitError, match=message):
            compare_forms(T, np.ones((1, T.size)), **options)


def test_few_points_have_no_error_on_the_tail():
    out = compare_forms(T[:6], np.arange(6.0)[None], forms=["log", "eq9"])
    assert np.isnan(out.set_index("form")["tail_error"]["eq9"])


def test_a_series_without_values_has_no_best_form_and_stops_nothing():
    y = np.stack([3 + 2 * np.log1p(T / 300), np.full(T.size, np.nan)])
    for weights in (None, "relative"):
        out = compare_forms(T, y, forms=["log", "step1"], weights=weights)
        assert best_form(out)["curve"].tolist() == [0]
        assert out.loc[out["curve"] == 1, "bic"].isna().all()


@pytest.mark.parametrize("criterion", ["bic", "aicc", "r2", "tail_error"])
def test_the_best_form_of_a_constant_draws_it(criterion):
    out = compare_forms(T, np.full((1, T.size), 3.7))
    chosen = best_form(out, criterion).iloc[0]
    assert chosen["form"] == "log" and chosen["tail_error"] < 1e-12  # the fewest parameters of those that draw it
    assert (
        out["akaike_weight"].sum() == pytest.approx(1)
        and out["akaike_weight"].idxmax() == out["k"].where(np.isneginf(out["bic"])).idxmin()
    )


def test_an_unknown_criterion_and_another_table_are_refused():
    with pytest.raises(FitError, match="criterion = 'sic' is not known; did you mean 'bic'"):
        best_form(compare_forms(T, np.ones((1, T.size)), forms=["log"]), "sic")
    with pytest.raises(FitError, match="no curve, k, bic"):
        best_form(pd.DataFrame({"form": ["log"]}))
