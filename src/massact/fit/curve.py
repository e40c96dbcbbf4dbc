"""The result of `fit_series`: a fitted curve that says what may be quoted."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

from massact.errors import FitError
from massact.fit.checks import Numbers, as_floats, check_share
from massact.fit.forms import FORMS
from massact.fit.judgement.regimes import Doubt, Regime, undetermined
from massact.fit.judgement.statistics import information
from massact.fit.status import FitStatus
from massact.fit.units import DERIVED_UNITS, Units, beyond_doubles, parameters_in, squares_back, units_of
from massact.markup import html_table

LABELS = {
    "f_start": "value at the first step",
    "f_end": "value at the last step",
    "peak_value": "largest value in range",
    "peak_step": "step of the interior peak",
    "half_rise_step": "step of the half rise",
    "end_slope": "slope at the end, df/d(ln t)",
    "decay_share": "share of the decay completed",
}
FLATTEST = 1e-10  # directions with singular values below this share of the largest are left out of a band
NONE_IN_RANGE = {"peak_step", "half_rise_step"}


def _plain(value: Any) -> Any:
    """The value with null, "Infinity" and "-Infinity" in place of numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in cast("list[Any]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _number(value: Any) -> float:
    """The number that `_plain` wrote."""
    return math.nan if value is None else float(value)


@dataclass(frozen=True)
class CurveFit:
    """A fitted curve.

    Attributes
    ----------
    form, steps, values, weights
        The data. Missing values are NaN. Weights are those at the end of the fit, and 0 for points left out.
    params
        lmfit Parameters, named as the arguments of the form's function: `lam` for lambda.
    stderr, determined
        The standard error of each parameter, NaN where unknown, and whether the parameter may be quoted. Keys are the
        names in the table (`lambda`). Standard errors assume independent residuals; on log rises they are far too
        small.
    derived, intervals
        Quantities of the curve (`massact.fit.schemas.DERIVED`), and their 95 % intervals if sequences were given.
    regime, status
        What may be quoted, and how the fit ended; both have a `.text`.
    peak_determined
        Whether the interior peak may be quoted: the values fall after it by more than their noise.
    doubts
        Why a plateau or a peak of the curve is not quoted; each has a `.text`.
    sse, r2
        Weighted sum of squared residuals, NaN where a double cannot hold it; share of the weighted variance explained.
    n_points
        Number of points fitted.
    bins
        Number of bins that the search and the resampling used (`massact.fit.engine.bins`); `n_points` up to 256 points.
        Parameters, errors and criteria always use all points.
    result
        lmfit's ModelResult. None if the curve is the engine's, or if the fit was read from JSON or a pickle.
    """

    form: str
    steps: np.ndarray = field(repr=False)
    values: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
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
    peak_determined: bool = False
    doubts: tuple[Doubt, ...] = ()
    bins: int = 0

    @property
    def best(self) -> dict[str, float]:
        """Parameters keyed by their names in the table."""
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
        """Values minus the curve (step,), unweighted; NaN where a value is missing."""
        return self.values - self.predict(self.steps)

    def predict(self, t: Numbers) -> np.ndarray:
        """The curve at steps t. Beyond the trained range it is an extrapolation that the regime does not cover."""
        return FORMS[self.form].value(as_floats(t, "t"), *self.best.values())

    def band(self, t: Numbers, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper confidence limits of the curve at steps t, by the delta method.

        The points are assumed independent: where input sequences are known, trust `intervals` instead. The band exists
        even where the parameters are not determined, because directions that do not change the curve are left out.

        Raises
        ------
        FitError
            A fit without parameters (`regime` is failed), or a level that is not between 0 and 1.
        """
        check_share(level, "level")
        if self.regime is Regime.FAILED:
            raise FitError(f"no band: {self.status.sentence}", "see `status`")
        fit, units = self._in_units()
        if fit is not self:
            lower, upper = fit.band(as_floats(t, "t") / units.step, level=level)
            return lower * units.value[0], upper * units.value[0]
        form, best = FORMS[self.form], np.array(list(self.best.values()))
        at, points = as_floats(t, "t"), self.weights > 0
        units = np.where(form.scales, np.abs(best), 1.0)
        by_points, by_at = (
            np.stack([np.broadcast_to(part, x.shape) for part in form.gradient(x, *best)], axis=-1) * units
            for x in (self.steps[points], at)
        )
        degrees = max(self.n_points - best.size, 1)
        inverse = np.linalg.pinv(by_points * self.weights[points, None], rcond=FLATTEST)
        error = np.linalg.norm(by_at @ inverse, axis=-1) * math.sqrt(self.sse / degrees)
        half = float(stdtrit(degrees, (1 + level) / 2)) * error
        curve = self.predict(at)
        return curve - half, curve + half

    def conf_interval(self, *names: str, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Profile-likelihood intervals of parameters (by default all that vary), inf where a side has no bound.

        Calls lmfit's `conf_interval`, which fixes each parameter at several values and fits the others again. This can
        take seconds. On log rises most of Eq. 9's parameters have no bound: ask for Eq. 14's beta and tau0 instead.

        Raises
        ------
        FitError
            An unknown parameter, a curve that is the engine's (see `status`), a level that is not between 0 and 1, or a
            profile that lmfit cannot follow.
        """
        check_share(level, "level")
        arguments = dict(zip(FORMS[self.form].parameters, FORMS[self.form].arguments, strict=True))
        unknown = [name for name in names if name not in arguments]
        if unknown:
            raise FitError(f"no parameter {', '.join(unknown)}", f"form '{self.form}' has {', '.join(arguments)}")
        if self.result is None:
            raise FitError(f"no profile: {self.status.sentence}", "quote `band` and `intervals`, or fit again")
        varying = [name for name in (names or arguments) if self.result.params[arguments[name]].vary]
        from lmfit.minimizer import MinimizerException  # pyright: ignore[reportMissingTypeStubs]

        try:
            limits = self.result.conf_interval(p_names=[arguments[name] for name in varying], sigmas=[level])
        except (ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError, MinimizerException) as error:
            reason = " ".join(str(error).split())
            raise FitError(
                f"the profile of {', '.join(varying)} breaks off ({reason})", "use beta, tau0 of eq14"
            ) from None
        return {name: (limits[arguments[name]][0][1], limits[arguments[name]][-1][1]) for name in varying}

    def to_json(self) -> str:
        """The fit as JSON, without `result`. NaN becomes null; infinite bounds become "Infinity" and "-Infinity"."""
        content = {
            **{name: getattr(self, name) for name in ("form", "sse", "r2", "n_points", "bins")},
            **{name: getattr(self, name).tolist() for name in ("steps", "values", "weights")},
            **{name: getattr(self, name) for name in ("stderr", "determined", "derived", "intervals")},
            "regime": str(self.regime),
            "status": str(self.status),
            "peak_determined": self.peak_determined,
            "doubts": [str(doubt) for doubt in self.doubts],
            "params": self.params.dumps(),
        }
        return json.dumps(_plain(content), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> CurveFit:
        """The fit that `to_json` wrote.

        Raises
        ------
        FitError
            Text that `to_json` did not write.
        """
        from lmfit import Parameters  # pyright: ignore[reportMissingTypeStubs]

        try:
            content: dict[str, Any] = json.loads(text)
            arrays: dict[str, Any] = {
                name: np.array(content.pop(name), dtype=float) for name in ("steps", "values", "weights")
            }
            for name in ("sse", "r2"):
                content[name] = _number(content[name])
            for name in ("stderr", "derived"):
                content[name] = {key: _number(value) for key, value in content[name].items()}
            intervals = {
                name: (_number(lower), _number(upper)) for name, (lower, upper) in content.pop("intervals").items()
            }
            empty: Any = Parameters()
            params = empty.loads(content.pop("params"))
            doubts = tuple(Doubt(name) for name in content.pop("doubts"))
            regime, status = Regime[content.pop("regime").upper()], FitStatus[content.pop("status").upper()]
            return cls(
                **content,
                **arrays,
                intervals=intervals,
                params=params,
                regime=regime,
                status=status,
                doubts=doubts,
                result=None,
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FitError(
                f"not the JSON of a fit ({type(error).__name__}: {error})", "write it with to_json"
            ) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return CurveFit.from_json, (self.to_json(),)

    def report(self) -> str:
        """The fit as text, with what may be quoted."""
        searched = f" (searched in {self.bins} bins)" if 0 < self.bins < self.n_points else ""
        lines = [
            f"{self.form}: {FORMS[self.form].formula}",
            f"points {self.n_points}{searched}   sse {self.sse:.6g}   R2 {self.r2:.5f}   AICc {self.aicc:.2f}",
            f"regime {self.regime}: {self.regime.text}",
            f"status {self.status}: {self.status.text}",
        ]
        lines += [f"doubt {doubt}: {doubt.text}" for doubt in self.doubts]
        if self.regime is Regime.FAILED:
            return "\n".join(lines)
        title = (
            "values of the curve (flat: do not quote)" if self.regime is Regime.FLAT else "quotable values of the curve"
        )
        lines.append(f"{title}{', 95 % interval over sequences' if self.intervals else ''}:")
        lines += [f"  {name:<30} {value}" for name, value in self._quoted()]
        hidden = [f"{name} {value:.3g}" for name, value in self.best.items() if not self.determined[name]]
        if hidden:
            lines.append(f"not determined, they only reproduce the curve: {', '.join(hidden)}")
        return "\n".join(lines)

    def _quoted(self) -> list[tuple[str, str]]:
        """Label and value of each derived quantity, with its interval, and of the determined parameters."""
        peaked = not math.isnan(self.derived["peak_step"])
        unknown = undetermined(self.doubts, peaked=peaked, peak_determined=self.peak_determined)
        lines: list[tuple[str, str]] = []
        for name, value in self.derived.items():
            if name == "decay_share" and self.regime in (Regime.LOG_RISE, Regime.DISPUTED):
                continue  # the decay has not been seen, so its completed share is unknown
            if name in unknown:
                lines.append((LABELS[name], "not determined"))
                continue
            number = "none in range" if math.isnan(value) and name in NONE_IN_RANGE else f"{value:.5g}"
            bounds = self.intervals.get(name, (math.nan, math.nan))
            spread = "" if math.isnan(bounds[0]) else f"   [{bounds[0]:.5g}, {bounds[1]:.5g}]"
            lines.append((LABELS[name], f"{number}{spread}"))
        quoted = [name for name, known in self.determined.items() if known]
        return lines + [(name, f"{self.best[name]:.5g} +- {self.stderr[name]:.2g}") for name in quoted]

    def _repr_html_(self) -> str:
        """For notebooks: the values that may be quoted."""
        title = f"{self.form}, {self.n_points} points, R2 {self.r2:.5f}: {self.regime}"
        rows = [] if self.regime is Regime.FAILED else self._quoted()
        notes = [self.regime.text, *(doubt.text for doubt in self.doubts)]
        if self.regime is Regime.FAILED:
            notes = [self.status.text]
        return html_table(["of the curve", "value"], rows, title=title, note="; ".join(notes))

    def back(self, units: Units, steps: np.ndarray, values: np.ndarray) -> CurveFit:
        """A fit in `units`, converted to the fit of the caller's steps and values."""
        form = FORMS[self.form]
        scaled = np.array([list(self.best.values())])
        own = parameters_in(self.form, scaled, units, back=True)
        overflow = bool(beyond_doubles(scaled, own)[0])
        unit_of = {parameter.name: parameter.unit for parameter in form.signature} | DERIVED_UNITS
        factor = {name: math.nan if overflow else float(units.of(unit)[0]) for name, unit in unit_of.items()}
        stderr = {name: value * factor[name] for name, value in self.stderr.items()}
        determined = {name: value and not overflow for name, value in self.determined.items()}
        for name in form.unknown_in_units if units.step != 1 else ():
            stderr[name], determined[name] = math.nan, False
        out = replace(
            self,
            steps=steps,
            values=values,
            weights=self.weights * units.weight,
            params=self._with(own[0] * (math.nan if overflow else 1), stderr),
            stderr=stderr,
            determined=determined,
            derived={name: value * factor[name] for name, value in self.derived.items()},
            intervals={name: (low * factor[name], high * factor[name]) for name, (low, high) in self.intervals.items()},
            sse=float(squares_back(np.array([self.sse]), units)[0]),
            result=None,
        )
        if not overflow:
            return out
        return replace(
            out,
            regime=Regime.FAILED,
            status=FitStatus.BEYOND_DOUBLES,
            sse=math.nan,
            intervals={},
            doubts=(),
            peak_determined=False,
        )

    def _in_units(self) -> tuple[CurveFit, Units]:
        """The fit in units of ordinary size: the fit itself unless its numbers are near the limits of doubles."""
        units = units_of(self.form, self.steps, self.values[None], self.weights[None])
        if units.ordinary or self.regime is Regime.FAILED:
            return self, units
        own = parameters_in(self.form, np.array([list(self.best.values())]), units)[0]
        y, w, t = self.values / units.value[0], self.weights / units.weight, self.steps / units.step
        params = self._with(own, dict.fromkeys(self.stderr, math.nan))
        fit = replace(self, steps=t, values=y, weights=w, params=params, result=None)
        points = w > 0
        return replace(fit, sse=float(np.sum((fit.residuals[points] * w[points]) ** 2))), units

    def _with(self, values: np.ndarray, stderr: dict[str, float]) -> Any:
        """The params with these values and standard errors, and without bounds."""
        from lmfit import Parameters  # pyright: ignore[reportMissingTypeStubs]

        out: Any = Parameters()
        for argument, value, error in zip(FORMS[self.form].arguments, values.tolist(), stderr.values(), strict=True):
            out.add(argument, value=value, vary=self.params[argument].vary)
            out[argument].stderr = error if math.isfinite(error) else None
        return out

    def _information(self, name: str) -> float:
        fit, units = self._in_units()
        own = information(np.array([fit.sse]), self.n_points, len(FORMS[self.form].parameters))[name][0]
        return float(own + 2 * self.n_points * (math.log(units.value[0]) + math.log(units.weight)))
