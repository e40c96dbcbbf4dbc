"""How well the parameters of a fit are determined together: condition number and sloppiest direction."""

from __future__ import annotations

import numpy as np

from massact.fit.forms import FORMS

TAKES_PART = 0.3  # a parameter belongs to the sloppiest direction with this share of its largest component
BEYOND = 1e16  # condition numbers that double precision cannot tell apart


def identifiability(form: str, values: np.ndarray, t: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The condition number (curve,) of the weighted Jacobian, and the direction it is worst in.

    Columns are with respect to the logarithm of parameters that are scales, and to the others in units of themselves
    or, if that is more, of the curve's range. 10 is well determined; from about 1e4 on parameters trade against each
    other, whatever their standard errors say; 1e16 stands for all beyond. The direction names the parameters that
    change together while the curve hardly does, as `gamma + t0 - lambda`. Both are unknown (NaN and "") where the
    parameters are.
    """
    names = FORMS[form].parameters
    with np.errstate(all="ignore"):
        columns = values.T[:, :, None]
        span = np.ptp(FORMS[form].function(t, *columns), axis=1)
        gradient = FORMS[form].gradient(t, *columns)
        units = np.where(FORMS[form].scales, np.abs(values), np.maximum(np.abs(values), span[:, None]))
        jacobian = np.stack([np.broadcast_to(part, (len(values), t.size)) for part in gradient], axis=2)
        jacobian = jacobian * units[:, None, :] * w[..., None]
    condition, directions = np.full(len(values), np.nan), [""] * len(values)
    known = np.flatnonzero(np.isfinite(jacobian).all(axis=(1, 2)))
    if not known.size:
        return condition, directions
    upper = np.linalg.qr(jacobian[known], mode="r")
    _, singular, right = np.linalg.svd(upper)
    with np.errstate(all="ignore"):
        ratio = singular[:, 0] / singular[:, -1]
    condition[known] = np.where(np.isfinite(ratio), np.minimum(ratio, BEYOND), BEYOND)
    for row, direction in zip(known.tolist(), right[:, -1], strict=True):
        directions[row] = _named(names, direction)
    return condition, directions


def _named(names: tuple[str, ...], direction: np.ndarray) -> str:
    """As `gamma + t0 - lambda`: the largest component first and positive."""
    size = np.abs(direction)
    order = np.argsort(-size, kind="stable")
    order = order[size[order] >= TAKES_PART * size[order[0]]]
    signs = np.sign(direction[order]) * np.sign(direction[order[0]])
    parts = [f"{'+' if sign > 0 else '-'} {names[j]}" for sign, j in zip(signs, order, strict=True)]
    return " ".join(parts).removeprefix("+ ")
