"""massact: massive activations of transformers, measured over training, fitted and forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massact._lazy import lazy
from massact.architecture import Architecture
from massact.errors import MassactError

if TYPE_CHECKING:
    from massact import checkpoints, extract, fit, predict, report, train, trajectories
    from massact.extract.measurement import measure
    from massact.extract.probe import Probe
    from massact.extract.protocol import Measurement
    from massact.extract.store import RecordStore
    from massact.fit.curve import CurveFit
    from massact.fit.forms import FORMS
    from massact.fit.joint import fit_joint
    from massact.fit.many import fit_many
    from massact.fit.overview import brief
    from massact.fit.selection import best_form, compare_forms
    from massact.fit.series import fit_series
    from massact.notebook import fit_table, measure_checkpoints, plot
    from massact.predict.forecasting import forecast
    from massact.train.live import LiveMeasurement
    from massact.train.live_inferred import live
    from massact.train.subject import Subject
    from massact.trajectories.aggregation import aggregate

__all__ = [
    "FORMS",
    "Architecture",
    "CurveFit",
    "LiveMeasurement",
    "MassactError",
    "Measurement",
    "Probe",
    "RecordStore",
    "Subject",
    "__version__",
    "aggregate",
    "best_form",
    "brief",
    "checkpoints",
    "compare_forms",
    "extract",
    "fit",
    "fit_joint",
    "fit_many",
    "fit_series",
    "fit_table",
    "forecast",
    "live",
    "measure",
    "measure_checkpoints",
    "plot",
    "predict",
    "report",
    "train",
    "trajectories",
]
__version__ = "0.1.0"
# Sub-packages and the most common names. Each is imported at its first use, so that `import massact` stays fast.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "FORMS": "fit.forms",
        "CurveFit": "fit.curve",
        "LiveMeasurement": "train.live",
        "Measurement": "extract.protocol",
        "Probe": "extract.probe",
        "RecordStore": "extract.store",
        "Subject": "train.subject",
        "aggregate": "trajectories.aggregation",
        "best_form": "fit.selection",
        "brief": "fit.overview",
        "checkpoints": "",
        "compare_forms": "fit.selection",
        "extract": "",
        "fit": "",
        "fit_joint": "fit.joint",
        "fit_many": "fit.many",
        "fit_series": "fit.series",
        "fit_table": "notebook",
        "forecast": "predict.forecasting",
        "live": "train.live_inferred",
        "measure": "extract.measurement",
        "measure_checkpoints": "notebook",
        "plot": "notebook",
        "predict": "",
        "report": "",
        "train": "",
        "trajectories": "",
    },
)
