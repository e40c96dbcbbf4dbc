"""How well a fit determines its parameters together: condition number and sloppiest direction."""

from __future__ import annotations

import numpy as np

from massact.fit.forms import FORMS

TAKES_PART = 0.3  # share of the largest component from which a parameter belongs to the sloppiest direction
BEYOND = 1e12  # larger condition numbers depend on a machine's rounding by more than a thousandth
TIED = 2  # decimals to which components are compared; equal ones keep the order of the parameters


def identifiability(form: str, values: np.ndarray, t: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The condition number (curve,) of the weighted Jacobian, and its worst direction.

    Columns are derivatives with respect to the logarithms of parameters that are scales, and to the other parameters in
    units of their size or of the curve's range, whichever is larger. At 10 the parameters are well determined. From
    about 1e4 they trade against each other, whatever their standard errors say; 1e12 is the largest number reported.
    The direction names the parameters that change together while the curve hardly changes, as `gamma + t0 - lambda`.
    Where several directions are free, it lists all parameters in them, as `lambda, gamma, t0`. Both are unknown (NaN
    and "") where the parameters are.
    """
    names = FORMS[form].parameters
    with np.errstate(all="ignore"):
        columns = values.T[:, :, None]
        span = np.ptp(FORMS[form].value(t, *columns), axis=1)
        gradient = FORMS[form].gradient(t, *columns)
        units = np.where(FORMS[form].scales, np.abs(values), np.maximum(np.abs(values), span[:, None]))
        jacobian = np.stack([np.broadcast_to(part, (len(values), t.size)) for part in gradient], axis=2)
        jacobian = jacobian * units[:, None, :] * w[..., None]
    condition, directions = np.full(len(values), np.nan), [""] * len(values)
    finite = np.flatnonzero(np.isfinite(jacobian).all(axis=(1, 2)))
    if not finite.size:
        return condition, directions
    upper = np.linalg.qr(jacobian[finite], mode="r")
    _, singular, right = np.linalg.svd(upper)
    with np.errstate(all="ignore"):
        ratio = singular[:, 0] / singular[:, -1]
    condition[finite] = np.where(np.isfinite(ratio), np.minimum(ratio, BEYOND), BEYOND)
    for row, lengths, axes in zip(finite.tolist(), singular, right, strict=True):
        free = lengths <= lengths[0] / BEYOND
        directions[row] = _named(names, axes[-1]) if free.sum() < 2 else _listed(names, axes[free])
    return condition, directions


def _listed(names: tuple[str, ...], free: np.ndarray) -> str:
    """The parameters of several directions along which the curve does not change, as `lambda, gamma, t0`."""
    share = np.linalg.norm(free, axis=0)  # the same for every basis of the free directions
    share = np.round(share / share.max(), TIED)
    return ", ".join(name for name, size in zip(names, share, strict=True) if size >= TAKES_PART)


def _named(names: tuple[str, ...], direction: np.ndarray) -> str:
    """One direction as `gamma + t0 - lambda`, with the largest component first and positive."""
    share = np.round(np.abs(direction) / np.abs(direction).max(), TIED)
    order = np.argsort(-share, kind="stable")
    order = order[share[order] >= TAKES_PART]
    signs = np.sign(direction[order]) * np.sign(direction[order[0]])
    parts = [f"{'+' if sign > 0 else '-'} {names[j]}" for sign, j in zip(signs, order, strict=True)]
    return " ".join(parts).removeprefix("+ ")
