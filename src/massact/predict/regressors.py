"""The paper's five regressors, and the two baselines every score stands beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from massact.errors import ConfigError

LEARNED = ("ridge", "lasso", "random_forest", "gradient_boosting", "xgboost")
BASELINES = ("mean", "nearest")


class NearestArchitecture:
    """Predicts with the layer at the nearest relative depth of the nearest architecture.

    Parameters
    ----------
    depth
        Column of relative depth in the features; the others, standardised, say how far architectures are apart.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth

    def fit(self, x: Float[ndarray, "row feature"], y: Float[ndarray, " row"]) -> NearestArchitecture:
        """Keep the training rows."""
        self._spread = np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
        self._x, self._y = x / self._spread, y
        return self

    def predict(self, x: Float[ndarray, "row feature"]) -> Float[ndarray, " row"]:
        """One training value a row."""
        scaled = x / self._spread
        others = [column for column in range(x.shape[1]) if column != self.depth]
        far = ((scaled[:, None, others] - self._x[None][:, :, others]) ** 2).sum(axis=2)
        deep = np.abs(scaled[:, None, self.depth] - self._x[None, :, self.depth])
        nearest = far <= far.min(axis=1, keepdims=True) * (1 + 1e-9) + 1e-12
        return self._y[np.where(nearest, deep, np.inf).argmin(axis=1)]


def make_regressor(name: str, seed: int, options: Mapping[str, Any] | None = None, *, depth: int = 0) -> Any:
    """An unfitted regressor with `fit` and `predict`; features are standardised inside where that matters.

    Parameters
    ----------
    name
        One of `LEARNED` or `BASELINES`.
    options
        Hyperparameters by scikit-learn's (XGBoost's) names.
    depth
        Column of relative depth, for the nearest-architecture baseline.

    Raises
    ------
    ConfigError
        An unknown name, or an option the regressor does not have.
    """
    from sklearn.dummy import DummyRegressor
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import Lasso, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    wanted = dict(options or {})
    try:
        if name == "mean":
            return DummyRegressor()
        if name == "nearest":
            return NearestArchitecture(depth)
        if name == "ridge":
            return make_pipeline(StandardScaler(), Ridge(**wanted))
        if name == "lasso":
            return make_pipeline(StandardScaler(), Lasso(**{"alpha": 0.05, "max_iter": 20_000, **wanted}))
        if name == "random_forest":
            return RandomForestRegressor(**{"random_state": seed, "n_jobs": 1, **wanted})
        if name == "gradient_boosting":
            return GradientBoostingRegressor(**{"random_state": seed, **wanted})
        if name == "xgboost":
            from xgboost import XGBRegressor

            return XGBRegressor(**{"random_state": seed, "n_jobs": 1, **wanted})
    except TypeError as error:
        raise ConfigError(f"predictor.regressors.{name}: {error}", "see the regressor's own parameters") from None
    raise ConfigError(f"regressor {name} is not known", f"choose from {', '.join((*LEARNED, *BASELINES))}")
