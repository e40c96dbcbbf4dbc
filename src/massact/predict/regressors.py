"""The regressors: the paper's five, the two baselines every score stands beside, and those of other packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from massact.errors import ConfigError
from massact.names import choice

ENTRY_POINTS = "massact.regressors"


@dataclass(frozen=True, kw_only=True)
class Regressor:
    """One regressor, under the name it has in `predictor.regressors` and in every table.

    Attributes
    ----------
    name
        One word.
    make
        `make(seed, options)` gives an unfitted model with `fit(x, y)`, which returns the model, and `predict(x)`:
        features (row, feature), the target on the scale of `massact.predict.targets` (row,). It standardises features
        itself where that matters, and raises TypeError for an option that it does not have.
    baseline
        Whether it is scored beside all others without being asked for.
    """

    name: str
    make: Callable[[int, dict[str, Any]], Any]
    baseline: bool = False


REGRESSORS: dict[str, Regressor] = {}


def register(regressor: Regressor) -> Regressor:
    """Make a regressor known under its name; a later one of the same name takes its place."""
    REGRESSORS[regressor.name] = regressor
    return regressor


def regressor_named(name: str) -> Regressor:
    """The regressor of a name; entry points of group `massact.regressors`, of other packages, are asked last.

    Raises
    ------
    ConfigError
        There is none: with the nearest names.
    """
    if name not in REGRESSORS:
        from importlib.metadata import entry_points

        for point in entry_points(group=ENTRY_POINTS, name=name):
            register(point.load())
    choice("predictor.regressors", name, REGRESSORS)
    return REGRESSORS[name]


def make_regressor(name: str, seed: int, options: Mapping[str, Any] | None = None) -> Any:
    """An unfitted regressor with `fit` and `predict`.

    Parameters
    ----------
    options
        Hyperparameters, by the names of the library it is from.

    Raises
    ------
    ConfigError
        An unknown name, or an option the regressor does not have.
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


for _name, _make in {
    "ridge": _ridge,
    "lasso": _lasso,
    "random_forest": _random_forest,
    "gradient_boosting": _gradient_boosting,
    "xgboost": _xgboost,
}.items():
    register(Regressor(name=_name, make=_make))
for _name, _make in {"mean": _mean, "nearest": _nearest}.items():
    register(Regressor(name=_name, make=_make, baseline=True))
BASELINES = tuple(name for name, regressor in REGRESSORS.items() if regressor.baseline)
