"""The paper's five regressors, and the two baselines every score stands beside."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from massact.errors import ConfigError

LEARNED = ("ridge", "lasso", "random_forest", "gradient_boosting", "xgboost")
BASELINES = ("mean", "nearest")
MOST_ESTIMATORS = 100_000
_XGBOOST_ALIASES = {"eta", "lambda", "alpha", "min_split_loss"}
_XGBOOST_PLACE = re.compile(r"^\[[\d:]+\] \S+:\d+: ")


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


def check_regressors(regressors: Mapping[str, Any], seed: int) -> None:
    """Refuse options that a regressor does not have or cannot work with, before anything is fitted to data.

    Raises
    ------
    ConfigError
        An unknown regressor or option, a value of the wrong kind or range, a library that is not installed.
    """
    for name, options in regressors.items():
        key = f"predictor.regressors.{name}"
        if options is not None and not isinstance(options, Mapping):
            raise ConfigError(f"{key} = {options}", f"write {key}={{option: value}}")
        most = (options or {}).get("n_estimators", 1)
        if isinstance(most, int) and not 1 <= most <= MOST_ESTIMATORS:
            raise ConfigError(f"{key}.n_estimators = {most}", f"give 1 to {MOST_ESTIMATORS:,}")
        try:
            regressor = make_regressor(name, seed, options)
            _check_names(regressor, options or {})
            _try(regressor, name, options or {})
        except ConfigError:
            raise
        except ImportError as error:
            raise ConfigError(
                f"{key} needs a library that is not installed ({error})", f"install it, or drop it: ~{key}"
            ) from None
        except Exception as error:  # whatever its library raises
            raise ConfigError(f"{key}: {_first_line(error)}", "see the regressor's own parameters") from None


def _check_names(regressor: Any, options: Mapping[str, Any]) -> None:
    """XGBoost takes options that it does not have without a word."""
    import difflib

    if not type(regressor).__module__.startswith("xgboost"):
        return
    known = sorted(_own_parameters(regressor))
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=3, cutoff=0.4) or known
            raise ConfigError(f"predictor.regressors.xgboost.{option} is no option", f"nearest: {', '.join(near)}")


def _try(regressor: Any, name: str, options: Mapping[str, Any]) -> None:
    """Fit a few numbers, as few trees as possible: libraries look at their options then."""
    if isinstance(options.get("n_estimators"), int):
        regressor.set_params(n_estimators=1)
    x = np.random.default_rng(0).standard_normal((12, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predicted = np.asarray(regressor.fit(x, x[:, 0] + 2 * x[:, 1]).predict(x), dtype=np.float64)
    if not np.isfinite(predicted).all():
        raise ConfigError(f"predictor.regressors.{name} predicts no finite numbers", "see its own parameters")


def _own_parameters(regressor: Any) -> set[str]:
    """The options that XGBoost's scikit-learn interface names, and the short names of its own that it also takes."""
    import inspect

    named = {name for base in type(regressor).__mro__ for name in inspect.signature(base.__init__).parameters}
    return (named - {"self", "args", "kwargs"}) | _XGBOOST_ALIASES


def _first_line(error: Exception) -> str:
    """What a library says, without the time and the source file that XGBoost puts in front."""
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return " ".join(_XGBOOST_PLACE.sub("", first).split())[:300].rstrip(".")


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
            return make_pipeline(StandardScaler(), Lasso(**wanted))
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
