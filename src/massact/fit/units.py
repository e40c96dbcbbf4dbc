"""Units in which steps, values and weights have ordinary sizes, and the way back from a fit in them.

Every form is linear in its amplitude, and all but `bump` only know steps relative to their own scales. So a fit of
values, weights or steps near the ends of floating point is the fit of the same in other units. Units are powers of two,
which change no digit, and 1 in the ordinary range: there nothing is scaled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from massact.errors import FitError
from massact.fit.forms import FORMS
from massact.fit.forms.form import Unit
from massact.fit.judgement.regimes import Regime
from massact.fit.status import FitStatus

ORDINARY = 2.0**100  # largest values and weights within this factor of 1 have products that a double holds
ORDINARY_STEPS = 2.0**64
LAST_STEP = 2.0**17  # of steps in units: about that of a training
DERIVED_UNITS = {
    "f_start": Unit.VALUES,
    "f_end": Unit.VALUES,
    "peak_value": Unit.VALUES,
    "peak_step": Unit.STEPS,
    "half_rise_step": Unit.STEPS,
    "end_slope": Unit.VALUES,
    "decay_share": Unit.NONE,
}
SMALLEST = float(np.finfo(float).smallest_subnormal)


class Units(NamedTuple):
    """The units of steps, of each curve's values (curve,) and of weights."""

    step: float
    value: np.ndarray
    weight: float

    @property
    def ordinary(self) -> bool:
        """Whether nothing is scaled."""
        return self.step == 1 and self.weight == 1 and bool((self.value == 1).all())

    def of(self, unit: Unit) -> np.ndarray:
        """The size (curve,) of what parameters and derived quantities are counted in."""
        if unit is Unit.VALUES:
            return self.value
        power = {Unit.STEPS: 1, Unit.PER_STEP: -1, Unit.NONE: 0}[unit]
        return np.full(self.value.shape, self.step**power)


def units_of(form: str, t: np.ndarray, y: np.ndarray, w: np.ndarray) -> Units:
    """The units for steps (step,), values and weights (curve, step); NaN is missing.

    Raises
    ------
    FitError
        Steps far from 1 for a form that is not `scale_free`.
    """
    last = float(t[-1]) if t.size else 0.0
    step = 1.0 if _between(last, ORDINARY_STEPS) else max(_power(last) / (LAST_STEP / 2), SMALLEST)
    if step != 1 and not FORMS[form].scale_free:
        raise FitError(
            f"steps end at {last:g}, and '{form}' counts them in a unit of its own: {FORMS[form].formula}",
            "give steps near 1, or another form",
        )
    largest = np.abs(y).max(axis=1, initial=0.0, where=np.isfinite(y))
    value = np.array([1.0 if _between(size, ORDINARY) else _power(size) for size in largest.tolist()])
    heaviest = float(w.max(initial=0.0))
    return Units(step, value, 1.0 if _between(heaviest, ORDINARY) else _power(heaviest))


def parameters_in(form: str, values: np.ndarray, units: Units, *, back: bool = False) -> np.ndarray:
    """Parameters (curve, parameter) in `units`; with `back`, from these to the caller's."""
    factors = np.stack([units.of(parameter.unit) for parameter in FORMS[form].signature], axis=1)
    with np.errstate(all="ignore"):
        out = values * factors if back else values / factors
        return FORMS[form].rescaled(out, 1 / units.step if back else units.step) if units.step != 1 else out


def beyond_doubles(values: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Which curves' parameters (curve, parameter) are numbers in units, and none that a double holds without them."""
    known = np.isfinite(values).all(axis=1)
    lost = ~np.isfinite(back) | ((np.abs(back) < np.finfo(float).tiny) & (values != 0))
    return known & lost.any(axis=1)


def squares_back(sse: np.ndarray, units: Units) -> np.ndarray:
    """Sums of squares in the caller's units; NaN where no double holds them."""
    with np.errstate(all="ignore"):
        out = sse * units.value * units.weight * units.value * units.weight
    lost = np.isinf(out) | ((out < np.finfo(float).tiny) & (sse > 0))
    return np.where(lost, np.nan, out)


def table_back(form: str, fits: pd.DataFrame, units: Units) -> pd.DataFrame:
    """Columns of `fits_schema(form)` of fits in units, one row a curve, in the caller's units."""
    out, chosen = fits.copy(), FORMS[form]
    names = list(chosen.parameters)
    values = fits[names].to_numpy(dtype=float)
    back = parameters_in(form, values, units, back=True)
    with np.errstate(all="ignore"):
        for j, parameter in enumerate(chosen.signature):
            name = parameter.name
            out[name] = back[:, j]
            out[f"{name}_stderr"] = fits[f"{name}_stderr"] * units.of(parameter.unit)
        for name, unit in DERIVED_UNITS.items():
            for column in (name, f"{name}_lower", f"{name}_upper"):
                out[column] = fits[column] * units.of(unit)
    for name in chosen.unknown_in_units if units.step != 1 else ():
        out[f"{name}_stderr"], out[f"{name}_determined"] = np.nan, False
    out["sse"] = squares_back(fits["sse"].to_numpy(dtype=float), units)
    for name in ("aic", "aicc", "bic"):
        out[name] = fits[name] + 2 * fits["n_points"] * (np.log(units.value) + np.log(units.weight))
    lost = beyond_doubles(values, back)
    if lost.any():
        numbers = [name for name in out.select_dtypes("float") if name != "r2"]
        out.loc[lost, numbers] = np.nan
        out.loc[lost, [f"{name}_determined" for name in names] + ["peak_determined"]] = False
        out.loc[lost, "regime"], out.loc[lost, "doubts"] = str(Regime.FAILED), ""
        out.loc[lost, "status"] = FitStatus.BEYOND_DOUBLES.sentence
    return out


def _between(size: float, most: float) -> bool:
    return size == 0 or 1 / most <= size <= most


def _power(size: float) -> float:
    """The power of two at or below a size."""
    return float(np.ldexp(1.0, int(np.frexp(size)[1]) - 1))
