"""Forecasts of curves from the architecture alone, with out-of-sample scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massact._lazy import lazy

if TYPE_CHECKING:
    from massact.predict.artefact import build_artefact
    from massact.predict.evaluate import caution, score_all
    from massact.predict.forecasting import forecast
    from massact.predict.outputs import write_outputs
    from massact.predict.regressors import Regressor, register

__all__ = ["Regressor", "build_artefact", "caution", "forecast", "register", "score_all", "write_outputs"]
__getattr__, __dir__ = lazy(
    __name__,
    {
        "Regressor": "regressors",
        "build_artefact": "artefact",
        "caution": "evaluate",
        "forecast": "forecasting",
        "register": "regressors",
        "score_all": "evaluate",
        "write_outputs": "outputs",
    },
)
