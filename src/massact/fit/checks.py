"""Checks of what a caller passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from massact.errors import FitError

Numbers = ArrayLike | Sequence[Any] | float | int  # ArrayLike as beartype reads it leaves out lists and floats


def check_steps(steps: Numbers) -> np.ndarray:
    """Steps as floats (step,).

    Raises
    ------
    FitError
        Not one axis, or NaN, negative, unsorted or repeated steps.
    """
    t = _floats(steps, "steps")
    if t.ndim != 1:
        raise FitError(f"steps have shape {t.shape}", "give one axis of steps")
    if not np.isfinite(t).all() or (t < 0).any():
        raise FitError(f"step {t[~(np.isfinite(t) & (t >= 0))][0]} is not a count of steps", "give steps >= 0")
    late = np.flatnonzero(np.diff(t) <= 0)
    if late.size:
        pair = f"{t[late[0]]:g}, {t[late[0] + 1]:g}"
        raise FitError(f"steps are not ascending at position {late[0] + 1} ({pair})", "sort them and drop repeats")
    return t


def check_values(values: Numbers, t: np.ndarray, axis: str) -> np.ndarray:
    """Values as floats (`axis`, step), the missing ones NaN.

    Raises
    ------
    FitError
        Another shape.
    """
    y = _floats(values, "values")
    if y.ndim != 2 or y.shape[1] != t.size:
        raise FitError(f"values have shape {y.shape} and steps {t.shape}", f"give values of shape ({axis}s, {t.size})")
    return np.where(np.isfinite(y), y, np.nan)


def check_weights(weights: Numbers | None, shape: tuple[int, int]) -> np.ndarray:
    """Weights as floats of `shape`; NaN counts as 0.

    Raises
    ------
    FitError
        A shape that does not broadcast, or negative or infinite weights.
    """
    if weights is None:
        return np.ones(shape)
    w = _floats(weights, "weights")
    w = np.where(np.isnan(w), 0.0, w)
    if w.shape not in (shape, shape[1:]):
        raise FitError(f"weights have shape {w.shape}", f"give shape {shape[1:]} or {shape}")
    if (w < 0).any() or np.isinf(w).any():
        raise FitError("weights are negative or infinite", "give 1/sigma of each point, 0 to leave one out")
    return np.broadcast_to(w, shape)


def check_sequences(sequences: Numbers, shape: tuple[int, ...]) -> np.ndarray:
    """Series of each input sequence as floats (sequence, *`shape`), the missing ones NaN.

    Raises
    ------
    FitError
        Another shape, or fewer than two sequences.
    """
    each = _floats(sequences, "sequences")
    if each.shape[1:] != shape:
        wanted = ", ".join(map(str, shape))
        raise FitError(f"sequences have shape {each.shape}", f"give values of shape (sequences, {wanted})")
    if len(each) < 2:
        raise FitError(f"{len(each)} sequence cannot be resampled", "give at least 2, better 10")
    return np.where(np.isfinite(each), each, np.nan)


def floats(*values: Numbers) -> tuple[np.ndarray, ...]:
    """Each value as an array of floats."""
    return tuple(np.asarray(value, dtype=float) for value in values)


def _floats(values: Numbers, what: str) -> np.ndarray:
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise FitError(
            f"{what} are not an array of numbers ({error})", "give numbers in rows of equal length"
        ) from None
