"""A regressor is one object, and registering it is enough."""

from __future__ import annotations

import numpy as np
import pytest

from massact.errors import ConfigError
from massact.predict import Regressor, register, score_all
from massact.predict.regressors import BASELINES, REGRESSORS, make_regressor, regressor_named
from tests.predict.synthetic import fits


class Median:
    """Predicts the median of what it was given."""

    def fit(self, x, y):
        self.value = float(np.median(y))
        return self

    def predict(self, x):
        return np.full(len(x), self.value)


@pytest.fixture
def median():
    yield register(Regressor(name="median", make=lambda seed, options: Median(**options)))
    del REGRESSORS._things["median"]


@pytest.mark.parametrize("name", sorted(REGRESSORS))
def test_every_regressor_repeats_what_it_was_told(name):
    x = np.random.default_rng(0).normal(size=(40, 3))
    y = x @ [1.0, 2.0, 3.0]
    first, again = (make_regressor(name, 7).fit(x, y).predict(x) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.shape == (40,)


def test_a_registered_regressor_is_scored_beside_the_others(median):
    scores, predictions = score_all(
        {"eq9": fits()}, quantities=["ratio"], targets=["K"], regressors={"ridge": {}, "median": {}}
    )
    assert set(scores["regressor"]) == {"ridge", "median", *BASELINES}
    assert np.isfinite(predictions.loc[predictions["regressor"] == "median", "predicted"]).all()
    with pytest.raises(ConfigError, match=r"predictor\.regressors\.median: .*argument"):
        make_regressor("median", 0, {"alpha": 1})


def test_an_unknown_one_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="regressors = meadian is not known; nearest: "):
        regressor_named("meadian")
