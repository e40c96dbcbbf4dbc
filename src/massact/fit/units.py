"""Units that give steps, values and weights an ordinary size, and the conversion of a fit back to the caller's units.

Every form is linear in its amplitude, and all but `bump` depend on steps relative to their own time scales only.
Values, weights or steps near the limits of floating point can therefore be fitted in other units. Units are powers of
two, so that scaling changes no digit. In the ordinary range they are 1, and nothing is scaled.
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

ORDINARY = 2.0**100  # doubles hold the products of values and weights whose largest are within this factor of 1
ORDINARY_STEPS = 2.0**64
LAST_STEP = 2.0**17  # last step after scaling: of the order of a training's
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
    """The units of the steps, of each curve's values (curve,) and of the weights."""

    step: float
    value: np.ndarray
    weight: float

    @property
    def ordinary(self) -> bool:
        """Whether all units are 1."""
        return self.step == 1 and self.weight == 1 and bool((self.value == 1).all())

    def of(self, unit: Unit) -> np.ndarray:
        """The size (curve,) of a unit in which parameters and derived quantities are counted."""
        if unit is Unit.VALUES:
            return self.value
        power = {Unit.STEPS: 1, Unit.PER_STEP: -1, Unit.NONE: 0}[unit]
        return np.full(self.value.shape, self.step**power)


def units_of(form: str, t: np.ndarray, y: np.ndarray, w: np.ndarray) -> Units:
    """The units for steps (step,), values and weights (curve, step). NaN marks a missing value.

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
    """Parameters (curve, parameter) converted to `units`, or with `back` from `units` to the caller's."""
    factors = np.stack([units.of(parameter.unit) for parameter in FORMS[form].signature], axis=1)
    with np.errstate(all="ignore"):
        out = values * factors if back else values / factors
        return FORMS[form].rescaled(out, 1 / units.step if back else units.step) if units.step != 1 else out


def beyond_doubles(values: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Curves (curve,) whose parameters are finite in `units`, but overflow or underflow in the caller's (`back`)."""
    finite = np.isfinite(values).all(axis=1)
    overflow = ~np.isfinite(back) | ((np.abs(back) < np.finfo(float).tiny) & (values != 0))
    return finite & overflow.any(axis=1)


def squares_back(sse: np.ndarray, units: Units) -> np.ndarray:
    """Sums of squares in the caller's units; NaN where a double cannot hold them."""
    with np.errstate(all="ignore"):
        out = sse * units.value * units.weight * units.value * units.weight
    overflow = np.isinf(out) | ((out < np.finfo(float).tiny) & (sse > 0))
    return np.where(overflow, np.nan, out)


def table_back(form: str, fits: pd.DataFrame, units: Units) -> pd.DataFrame:
    """A table of fits (`fits_schema(form)`, one row per curve) converted from `units` to the caller's."""
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
    overflow = beyond_doubles(values, back)
    if overflow.any():
        numbers = [name for name in out.select_dtypes("float") if name != "r2"]
        out.loc[overflow, numbers] = np.nan
        out.loc[overflow, [f"{name}_determined" for name in names] + ["peak_determined"]] = False
        out.loc[overflow, "regime"], out.loc[overflow, "doubts"] = str(Regime.FAILED), ""
        out.loc[overflow, "status"] = FitStatus.BEYOND_DOUBLES.sentence
    return out


def _between(size: float, most: float) -> bool:
    return size == 0 or 1 / most <= size <= most


def _power(size: float) -> float:
    """The power of two at or below a size."""
    return float(np.ldexp(1.0, int(np.frexp(size)[1]) - 1))
