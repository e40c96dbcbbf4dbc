"""The regressors: the paper's five, the two baselines, and those of other packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from massact.errors import ConfigError
from massact.names import choice
from massact.registry import Registry, instance_of


@dataclass(frozen=True, kw_only=True)
class Regressor:
    """A regressor that the configuration and every table know by its name.

    Attributes
    ----------
    name
        Its key in `predictor.regressors`.
    make
        `make(seed, options)` returns an unfitted model with `fit(x, y)`, which returns the model, and `predict(x)`. The
        features `x` have shape (row, feature), the targets `y` shape (row,) on the scale of `massact.predict.targets`.
        The model standardises features itself if it needs to. `make` raises TypeError for an unknown option.
    baseline
        Whether it is always scored, beside the configured regressors.
    """

    name: str
    make: Callable[[int, dict[str, Any]], Any]
    baseline: bool = False


def regressor_named(name: str) -> Regressor:
    """The regressor of that name.

    Raises
    ------
    ConfigError
        The name is unknown. The message suggests the nearest ones.
    """
    choice("predictor.regressors", name, REGRESSORS)
    return REGRESSORS[name]


def make_regressor(name: str, seed: int, options: Mapping[str, Any] | None = None) -> Any:
    """An unfitted regressor with `fit` and `predict`.

    Parameters
    ----------
    options
        Hyperparameters by the library's own names.

    Raises
    ------
    ConfigError
        The name is unknown, or the regressor has no such option.
    """
    regressor = regressor_named(name)
    try:
        return regressor.make(seed, dict(options or {}))
    except TypeError as error:
        raise ConfigError(f"predictor.regressors.{name}: {error}", "see the regressor's own parameters") from None


def _ridge(_: int, options: dict[str, Any]) -> Any:
    from sklearn.linear_model import Ridge

    return _standardised(Ridge(**options))


def _lasso(_: int, options: dict[str, Any]) -> Any:
    from sklearn.linear_model import Lasso

    return _standardised(Lasso(**options))


def _standardised(model: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), model)


def _random_forest(seed: int, options: dict[str, Any]) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(**{"random_state": seed, "n_jobs": 1, **options})


def _gradient_boosting(seed: int, options: dict[str, Any]) -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(**{"random_state": seed, **options})


def _xgboost(seed: int, options: dict[str, Any]) -> Any:
    from xgboost import XGBRegressor

    return XGBRegressor(**{"random_state": seed, "n_jobs": 1, **options})


def _mean(_: int, options: dict[str, Any]) -> Any:
    from sklearn.dummy import DummyRegressor

    return DummyRegressor(**options)


def _nearest(_: int, options: dict[str, Any]) -> Any:
    from massact.predict.nearest import NearestArchitecture

    return NearestArchitecture(**options)


_OWN = (
    Regressor(name="ridge", make=_ridge),
    Regressor(name="lasso", make=_lasso),
    Regressor(name="random_forest", make=_random_forest),
    Regressor(name="gradient_boosting", make=_gradient_boosting),
    Regressor(name="xgboost", make=_xgboost),
    Regressor(name="mean", make=_mean, baseline=True),
    Regressor(name="nearest", make=_nearest, baseline=True),
)
REGRESSORS: Registry[Regressor] = Registry("regressor", "massact.regressors", _OWN, instance_of(Regressor), ConfigError)
BASELINES = tuple(regressor.name for regressor in _OWN if regressor.baseline)
register = REGRESSORS.register
