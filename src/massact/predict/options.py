"""Checks of the regressors' options before any fit to data."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from massact.errors import ConfigError
from massact.predict.regressors import make_regressor

MOST_ESTIMATORS = 100_000
_XGBOOST_ALIASES = {"eta", "lambda", "alpha", "min_split_loss"}
_XGBOOST_PREFIX = re.compile(r"^\[[\d:]+\] \S+:\d+: ")


def check_regressors(regressors: Mapping[str, Any], seed: int) -> None:
    """Refuse options that a regressor does not have or cannot work with.

    Raises
    ------
    ConfigError
        An unknown regressor or option, a value of the wrong kind or range, a library that is not installed.
    """
    for name, options in regressors.items():
        key = f"predictor.regressors.{name}"
        if options is not None and not isinstance(options, Mapping):
            raise ConfigError(f"{key} = {options}", f"write {key}={{option: value}}")
        estimators = (options or {}).get("n_estimators", 1)
        if isinstance(estimators, int) and not 1 <= estimators <= MOST_ESTIMATORS:
            raise ConfigError(f"{key}.n_estimators = {estimators}", f"give 1 to {MOST_ESTIMATORS:,}")
        try:
            regressor = make_regressor(name, seed, options)
            _check_names(regressor, options or {})
            _check_fit(regressor, name, options or {})
        except ConfigError:
            raise
        except ImportError as error:
            raise ConfigError(
                f"{key} needs a library that is not installed ({error})", f"install it, or drop it: ~{key}"
            ) from None
        except Exception as error:  # whatever its library raises
            raise ConfigError(f"{key}: {_first_line(error)}", "see the regressor's own parameters") from None


def _check_names(regressor: Any, options: Mapping[str, Any]) -> None:
    """Refuse unknown options of XGBoost, which accepts them silently."""
    import difflib

    if not type(regressor).__module__.startswith("xgboost"):
        return
    known = sorted(_own_parameters(regressor))
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=3, cutoff=0.4) or known
            raise ConfigError(f"predictor.regressors.xgboost.{option} is not an option", f"nearest: {', '.join(near)}")


def _check_fit(regressor: Any, name: str, options: Mapping[str, Any]) -> None:
    """Fit a few numbers with one tree: libraries check their options when they fit."""
    if isinstance(options.get("n_estimators"), int):
        regressor.set_params(n_estimators=1)
    x = np.random.default_rng(0).standard_normal((12, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predicted = np.asarray(regressor.fit(x, x[:, 0] + 2 * x[:, 1]).predict(x), dtype=np.float64)
    if not np.isfinite(predicted).all():
        raise ConfigError(f"predictor.regressors.{name} predicts values that are not finite", "see its own parameters")


def _own_parameters(regressor: Any) -> set[str]:
    """The options of XGBoost's scikit-learn interface, and the aliases that it also accepts."""
    import inspect

    named = {name for base in type(regressor).__mro__ for name in inspect.signature(base.__init__).parameters}
    return (named - {"self", "args", "kwargs"}) | _XGBOOST_ALIASES


def _first_line(error: Exception) -> str:
    """The first line of a library's message, without the time and source file that XGBoost adds."""
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return " ".join(_XGBOOST_PREFIX.sub("", first).split())[:300].rstrip(".")
