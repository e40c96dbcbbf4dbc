"""Options of regressors are checked against each regressor's parameters before any fit."""

from __future__ import annotations

import sys

import pytest

from massact.errors import ConfigError
from massact.predict.options import check_regressors

GOOD = {
    "ridge": {"alpha": 2.0}, "lasso": None, "random_forest": {"n_estimators": 60},
    "gradient_boosting": {"n_estimators": 60}, "xgboost": {"n_estimators": 60, "eta": 0.1, "reg_lambda": 2},
}  # fmt: skip


def test_options_that_mean_something_pass():
    check_regressors(GOOD, 0)


@pytest.mark.parametrize(
    ("regressors", "message"),
    [
        ({"ridge": {"alpha": -1}}, "'alpha'"),
        ({"ridge": {"alpha": float("nan")}}, "ridge"),
        ({"ridge": {"alfa": 1}}, "alfa"),
        ({"ridge": 3}, "write predictor.regressors.ridge"),
        ({"lasso": {"alpha": "strong"}}, "'alpha'"),
        ({"random_forest": {"n_estimators": "many"}}, "'n_estimators'"),
        ({"random_forest": {"n_estimators": 0}}, "give 1 to 100,000"),
        ({"random_forest": {"n_estimators": 10**9}}, "give 1 to 100,000"),
        ({"gradient_boosting": {"learning_rate": -1}}, "'learning_rate'"),
        ({"xgboost": {"objective": "reg:nonsense"}}, "Unknown objective"),
        ({"xgboost": {"n_estimatorz": 60}}, "nearest: n_estimators"),
        ({"xgboost": {"n_estimators": "many"}}, "xgboost"),
        ({"xgboost": {"max_depth": -5}}, "max_depth"),
        ({"forest": {}}, "not known"),
    ],
)
def test_options_that_do_not_are_one_line(regressors, message):
    with pytest.raises(ConfigError) as caught:
        check_regressors(regressors, 0)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_library_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(ConfigError, match=r"not installed.*drop it: ~predictor\.regressors\.xgboost"):
        check_regressors(GOOD, 0)
