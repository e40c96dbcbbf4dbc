"""What `fit_series` returns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from massact.fit.checks import Numbers
from massact.fit.forms import FORMS
from massact.fit.regimes import FitStatus, Regime
from massact.fit.statistics import information

LABELS = {
    "f_start": "value at the first step",
    "f_end": "value at the last step",
    "peak_value": "largest value in range",
    "peak_step": "step of the interior peak",
    "half_rise_step": "step of the half rise",
    "end_slope": "slope at the end, df/d(ln t)",
    "decay_share": "share of the decay completed",
}
NONE_IN_RANGE = {"peak_step", "half_rise_step"}


@dataclass(frozen=True)
class CurveFit:
    """A fitted curve.

    Attributes
    ----------
    form, steps, values
        What was fitted; missing values are NaN.
    params
        lmfit Parameters, named as the arguments of the form's function: `lam` for lambda.
    stderr, determined
        By the parameter's name in the table (`lambda`): standard error, NaN where unknown, and whether it may be
        quoted. Standard errors assume independent residuals; on log rises they are far too small.
    derived, intervals
        Quantities of the curve (`massact.fit.table.DERIVED`), and their 95 % intervals when sequences were given.
    regime, status
        What may be quoted, and how the fit ended; both have a `.text`.
    sse, r2
        Weighted sum of squared residuals; share of the weighted variance explained.
    n_points
        Points fitted.
    result
        lmfit's ModelResult (for `conf_interval` and the like), None when the curve is the engine's.
    """

    form: str
    steps: np.ndarray = field(repr=False)
    values: np.ndarray = field(repr=False)
    params: Any = field(repr=False)
    stderr: dict[str, float] = field(repr=False)
    determined: dict[str, bool] = field(repr=False)
    derived: dict[str, float] = field(repr=False)
    intervals: dict[str, tuple[float, float]] = field(repr=False)
    regime: Regime
    status: FitStatus
    sse: float
    r2: float
    n_points: int
    result: Any = field(repr=False)

    @property
    def best(self) -> dict[str, float]:
        """Parameters by their names in the table."""
        form = FORMS[self.form]
        return {
            name: float(self.params[argument].value)
            for name, argument in zip(form.parameters, form.arguments, strict=True)
        }

    @property
    def aic(self) -> float:
        """n log(sse/n) + 2k."""
        return self._information("aic")

    @property
    def aicc(self) -> float:
        """AIC with the small-sample term, NaN when n <= k + 1."""
        return self._information("aicc")

    @property
    def bic(self) -> float:
        """n log(sse/n) + k log n."""
        return self._information("bic")

    @property
    def residuals(self) -> np.ndarray:
        """Values less the curve (step,), unweighted; NaN where a value is missing."""
        return self.values - self.predict(self.steps)

    def predict(self, t: Numbers) -> np.ndarray:
        """The curve at steps t. Beyond the trained range it is an extrapolation that the regime does not cover."""
        return FORMS[self.form].function(t, *self.best.values())

    def report(self) -> str:
        """What was found and what may be quoted, as text."""
        lines = [
            f"{self.form}: {FORMS[self.form].formula}",
            f"points {self.n_points}   sse {self.sse:.6g}   R2 {self.r2:.5f}   AICc {self.aicc:.2f}",
            f"regime {self.regime}: {self.regime.text}",
            f"status {self.status}: {self.status.text}",
        ]
        if self.regime is Regime.FAILED:
            return "\n".join(lines)
        title = "of the curve (flat: do not quote)" if self.regime is Regime.FLAT else "may be quoted, of the curve"
        lines.append(f"{title}{', 95 % interval over sequences' if self.intervals else ''}:")
        for name, value in self.derived.items():
            if name == "decay_share" and self.regime is Regime.LOG_RISE:
                continue  # how much of a decay nobody has seen is over is not known
            shown = "none in range" if math.isnan(value) and name in NONE_IN_RANGE else f"{value:.5g}"
            bounds = self.intervals.get(name, (math.nan, math.nan))
            spread = "" if math.isnan(bounds[0]) else f"   [{bounds[0]:.5g}, {bounds[1]:.5g}]"
            lines.append(f"  {LABELS[name]:<30} {shown}{spread}")
        quoted = [name for name, known in self.determined.items() if known]
        lines += [f"  {name:<30} {self.best[name]:.5g} +- {self.stderr[name]:.2g}" for name in quoted]
        hidden = [f"{name} {value:.3g}" for name, value in self.best.items() if name not in quoted]
        if hidden:
            lines.append(f"not determined, they only draw the curve: {', '.join(hidden)}")
        return "\n".join(lines)

    def _information(self, name: str) -> float:
        return float(information(np.array([self.sse]), self.n_points, len(FORMS[self.form].parameters))[name][0])
