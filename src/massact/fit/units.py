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
from massact.fit.regimes import FitStatus, Regime
from massact.fit.table import DERIVED

ORDINARY = 2.0**100  # largest values and weights within this factor of 1 have products that a double holds
ORDINARY_STEPS = 2.0**64
LAST_STEP = 2.0**17  # of steps in units: about that of a training
SMALLEST = float(np.finfo(float).smallest_subnormal)
OF_VALUES = frozenset({"A", "A1", "A2", "B", "K", "f_start", "f_end", "peak_value", "end_slope"})
OF_STEPS = frozenset({"tau", "tau0", "t_half", "t_bump", "peak_step", "half_rise_step"})
PER_STEP = frozenset({"gamma", "beta", "beta1", "beta2", "omega"})


class Units(NamedTuple):
    """The units of steps, of each curve's values (curve,) and of weights."""

    step: float
    value: np.ndarray
    weight: float

    @property
    def ordinary(self) -> bool:
        """Whether nothing is scaled."""
        return self.step == 1 and self.weight == 1 and bool((self.value == 1).all())

    def of(self, name: str) -> np.ndarray:
        """The unit (curve,) of a parameter or a derived quantity."""
        if name in OF_VALUES:
            return self.value
        power = 1 if name in OF_STEPS else -1 if name in PER_STEP else 0
        return np.full(self.value.shape, self.step**power)


def units_of(form: str, t: np.ndarray, y: np.ndarray, w: np.ndarray) -> Units:
    """The units for steps (step,), values and weights (curve, step); NaN is missing.

    Raises
    ------
    FitError
        Steps far from 1 for `bump`, which has a term in log(1 + t).
    """
    last = float(t[-1]) if t.size else 0.0
    step = 1.0 if _between(last, ORDINARY_STEPS) else max(_power(last) / (LAST_STEP / 2), SMALLEST)
    if step != 1 and form == "bump":
        raise FitError(f"steps end at {last:g}, and 'bump' counts in log(1 + t)", "give steps near 1, or another form")
    largest = np.abs(y).max(axis=1, initial=0.0, where=np.isfinite(y))
    value = np.array([1.0 if _between(size, ORDINARY) else _power(size) for size in largest.tolist()])
    heaviest = float(w.max(initial=0.0))
    return Units(step, value, 1.0 if _between(heaviest, ORDINARY) else _power(heaviest))


def parameters_in(form: str, values: np.ndarray, units: Units, *, back: bool = False) -> np.ndarray:
    """Parameters (curve, parameter) in `units`; with `back`, from these to the caller's."""
    names = FORMS[form].parameters
    factors = np.stack([units.of(name) for name in names], axis=1)
    with np.errstate(all="ignore"):
        out = values * factors if back else values / factors
        if form == "eq14" and units.step != 1:  # log(t + tau0) is counted in the unit of the steps
            A1 = names.index("A1")
            out[:, names.index("A2")] -= (out[:, A1] if back else -out[:, A1]) * np.log(units.step)
    return out


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
    out, names = fits.copy(), list(FORMS[form].parameters)
    values = fits[names].to_numpy(dtype=float)
    back = parameters_in(form, values, units, back=True)
    with np.errstate(all="ignore"):
        for j, name in enumerate(names):
            out[name] = back[:, j]
            out[f"{name}_stderr"] = fits[f"{name}_stderr"] * units.of(name)
        for name in DERIVED:
            for column in (name, f"{name}_lower", f"{name}_upper"):
                out[column] = fits[column] * units.of(name)
    if form == "eq14" and units.step != 1:
        out["A2_stderr"], out["A2_determined"] = np.nan, False
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
