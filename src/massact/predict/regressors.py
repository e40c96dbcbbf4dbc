"""The regressors: the paper's five, those for designed suites, the baselines, and those of other packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    layered
        Whether `make` takes the option `layer`: the numbers of the columns that differ between the layers of one
        architecture.
    """

    name: str
    make: Callable[[int, dict[str, Any]], Any]
    baseline: bool = False
    layered: bool = False


def regressor_named(name: str) -> Regressor:
    """The regressor of that name.

    Raises
    ------
    ConfigError
        The name is unknown. The message suggests the nearest ones.
    """
    choice("predictor.regressors", name, REGRESSORS)
    return REGRESSORS[name]


def make_regressor(
    name: str, seed: int, options: Mapping[str, Any] | None = None, *, layer: Sequence[int] = (0,)
) -> Any:
    """An unfitted regressor with `fit` and `predict`.

    Parameters
    ----------
    options
        Hyperparameters by the library's own names.
    layer
        The columns that differ between the layers of one architecture, for regressors that tell them apart.

    Raises
    ------
    ConfigError
        The name is unknown, or the regressor has no such option.
    """
    regressor = regressor_named(name)
    known = {"layer": tuple(layer)} if regressor.layered else {}
    try:
        return regressor.make(seed, {**known, **dict(options or {})})
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


def _elastic_net(_: int, options: dict[str, Any]) -> Any:
    """Linear in the features and in their products."""
    from sklearn.linear_model import ElasticNet
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    model = ElasticNet(**{"alpha": 0.03, "l1_ratio": 0.5, "max_iter": 20_000, **options})
    return make_pipeline(
        StandardScaler(), PolynomialFeatures(2, interaction_only=True, include_bias=False), StandardScaler(), model
    )


def _kernel_ridge(_: int, options: dict[str, Any]) -> Any:
    from sklearn.kernel_ridge import KernelRidge

    return _standardised(_centred(KernelRidge(**{"kernel": "rbf", "alpha": 0.1, "gamma": 0.05, **options})))


def _centred(model: Any) -> Any:
    """The model with a standardised target: kernel ridge has no intercept."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import StandardScaler

    return TransformedTargetRegressor(model, transformer=StandardScaler())


def _extra_trees(seed: int, options: dict[str, Any]) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    known = {"n_estimators": 300, "min_samples_leaf": 2, "max_features": 0.7, "n_jobs": 1, "random_state": seed}
    return ExtraTreesRegressor(**{**known, **options})


def _histogram_boosting(seed: int, options: dict[str, Any]) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    known = {"max_iter": 100, "learning_rate": 0.05, "min_samples_leaf": 10, "random_state": seed}
    return HistGradientBoostingRegressor(**{**known, **options})


def _gaussian_process(_: int, options: dict[str, Any]) -> Any:
    from massact.predict.hierarchical_gp import HierarchicalGP

    return HierarchicalGP(**options)


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
    Regressor(name="elastic_net", make=_elastic_net),
    Regressor(name="kernel_ridge", make=_kernel_ridge),
    Regressor(name="extra_trees", make=_extra_trees),
    Regressor(name="histogram_boosting", make=_histogram_boosting),
    Regressor(name="gaussian_process", make=_gaussian_process, layered=True),
    Regressor(name="mean", make=_mean, baseline=True),
    Regressor(name="nearest", make=_nearest, baseline=True, layered=True),
)
REGRESSORS: Registry[Regressor] = Registry("regressor", "massact.regressors", _OWN, instance_of(Regressor), ConfigError)
BASELINES = tuple(regressor.name for regressor in _OWN if regressor.baseline)
register = REGRESSORS.register
