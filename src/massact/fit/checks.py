"""Checks of the caller's arguments, and their conversion to arrays of floats."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from massact.errors import FitError

Numbers = ArrayLike | Sequence[Any] | float | int  # beartype's reading of ArrayLike leaves out lists and floats
WIDEST = 1e20  # most by which the last step may exceed the first one or the first interval: every decade has nodes
REAL = "biuf"  # kinds of numpy dtypes that hold real numbers
PLAIN = (float, int, np.floating, np.bool_)
Word = TypeVar("Word", bound=str)
KINDS = {
    "c": "they are complex: take the real part or the magnitude",
    "M": "they are dates: give steps or seconds as numbers",
    "m": "they are durations: divide them by their unit",
    "U": "they are text",
    "S": "they are bytes",
    "O": "they are objects",
}


def check_steps(steps: Numbers) -> np.ndarray:
    """Steps as floats (step,).

    Raises
    ------
    FitError
        Steps that are not one-dimensional, NaN, negative, unsorted or repeated, or that span over twenty decades.
    """
    t = as_floats(steps, "steps")
    if t.ndim != 1:
        raise FitError(f"steps have shape {t.shape}", "give one axis of steps")
    if not np.isfinite(t).all() or (t < 0).any():
        raise FitError(f"step {t[~(np.isfinite(t) & (t >= 0))][0]} is not a count of steps", "give steps >= 0")
    unsorted = np.flatnonzero(np.diff(t) <= 0)
    if t.size > 1 and not unsorted.size:
        finest = min(t[1] - t[0], t[1] if t[0] == 0 else t[0])
        if finest < t[-1] / WIDEST:
            raise FitError(
                f"steps reach from {finest:g} to {t[-1]:g}, over more than 20 decades", "leave out the earliest steps"
            )
    if unsorted.size:
        pair = f"{t[unsorted[0]]:g}, {t[unsorted[0] + 1]:g}"
        raise FitError(f"steps are not ascending at position {unsorted[0] + 1} ({pair})", "sort them and drop repeats")
    return t


def check_series(values: Numbers, t: np.ndarray) -> np.ndarray:
    """One series as floats (step,), NaN where a value is missing.

    Raises
    ------
    FitError
        A shape that differs from that of the steps.
    """
    y = as_floats(values, "values")
    if y.shape != t.shape:
        raise FitError(f"values have shape {y.shape} and steps {t.shape}", "give one value per step")
    return np.where(np.isfinite(y), y, np.nan)


def check_values(values: Numbers, t: np.ndarray, axis: str) -> np.ndarray:
    """Values as floats (`axis`, step), NaN where one is missing.

    Raises
    ------
    FitError
        A shape that is not (`axis`, step).
    """
    y = as_floats(values, "values")
    if y.ndim != 2 or y.shape[1] != t.size:
        raise FitError(f"values have shape {y.shape} and steps {t.shape}", f"give values of shape ({axis}s, {t.size})")
    return np.where(np.isfinite(y), y, np.nan)


def check_weights(weights: Numbers | None, shape: tuple[int, int]) -> np.ndarray:
    """Weights as floats of `shape`, with 0 in place of NaN.

    Raises
    ------
    FitError
        A shape other than `shape` or (step,), or negative or infinite weights.
    """
    if weights is None:
        return np.ones(shape)
    w = as_floats(weights, "weights")
    w = np.where(np.isnan(w), 0.0, w)
    if w.shape not in (shape, shape[1:]):
        raise FitError(f"weights have shape {w.shape}", f"give shape {shape[1:]} or {shape}")
    if (w < 0).any() or np.isinf(w).any():
        raise FitError("weights are negative or infinite", "give 1/sigma of each point, 0 to leave one out")
    return np.broadcast_to(w, shape)


def check_word_or_weights(weights: Any) -> bool:
    """Whether weights are the word "relative".

    Raises
    ------
    FitError
        Any other word.
    """
    if isinstance(weights, str) and weights != "relative":
        raise FitError(f"weights are '{weights}'", "give numbers, 'relative' or None")
    return isinstance(weights, str)


def check_sequences(sequences: Numbers, shape: tuple[int, ...]) -> np.ndarray:
    """Series of each input sequence as floats (sequence, *`shape`), NaN where a value is missing.

    Raises
    ------
    FitError
        Other axes than `shape` after the first, or fewer than two sequences.
    """
    by_sequence = as_floats(sequences, "sequences")
    if by_sequence.shape[1:] != shape:
        sizes = ", ".join(map(str, shape))
        raise FitError(f"sequences have shape {by_sequence.shape}", f"give values of shape (sequences, {sizes})")
    if len(by_sequence) < 2:
        raise FitError(f"{len(by_sequence)} sequence cannot be resampled", "give at least 2, better 10")
    return np.where(np.isfinite(by_sequence), by_sequence, np.nan)


def check_choice(value: Any, what: str, known: Sequence[Word]) -> Word:
    """The value, if it is one of an option's known words.

    Raises
    ------
    FitError
        Any other value; the message names the nearest known word.
    """
    for word in known:
        if isinstance(value, str) and value == word:
            return word
    near = get_close_matches(str(value).lower(), known, n=1, cutoff=0.0)[0]
    raise FitError(f"{what} = {value!r} is not known", f"did you mean '{near}'? known: {', '.join(known)}")


def check_count(value: Any, what: str, least: int) -> int:
    """The value, if it is a whole number of at least `least`.

    Raises
    ------
    FitError
        Any other value.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise FitError(f"{what} = {value!r}", f"give a whole number >= {least}")
    return int(value)


def check_share(value: Any, what: str) -> float:
    """The value, if it is a number strictly between 0 and 1.

    Raises
    ------
    FitError
        Any other value.
    """
    if not isinstance(value, Real) or not 0 < float(value) < 1:
        raise FitError(f"{what} = {value!r} is not between 0 and 1", "give a number between 0 and 1")
    return float(value)


def floats(*values: Numbers) -> tuple[np.ndarray, ...]:
    """Each value as an array of floats (`as_floats`)."""
    return tuple(as_floats(value, "arguments of a form") for value in values)


def as_floats(values: Any, what: str) -> np.ndarray:
    """Real numbers in any container as a float64 array of the same shape.

    Takes tensors of any device and dtype, with or without a gradient; masked arrays and nullable or Arrow columns,
    whose missing entries become NaN; and sequences of these.

    Raises
    ------
    FitError
        Complex numbers, dates, durations, text, rows of unequal length, or objects that are not numbers. The message
        calls the argument `what`.
    """
    if type(values) is np.ndarray and values.dtype == np.float64:
        return values
    if isinstance(values, float):  # parameters, in every evaluation of a form
        return np.array(values)
    try:
        plain = _plain(values)
        kind = plain.dtype.kind
        extension = kind == "V" and plain.dtype.names is None  # a number type of another package: JAX's bfloat16
        if kind not in REAL and not extension:
            raise TypeError(KINDS.get(kind, f"they have dtype {plain.dtype}"))
        return plain.astype(np.float64)
    except Exception as error:  # containers of other packages may raise anything
        reason = " ".join(str(error).split())
        raise FitError(
            f"{what}: not an array of numbers ({reason})", "give real numbers in rows of equal length"
        ) from None


def _plain(values: Any) -> np.ndarray:
    """The array that a container holds, with NaN for missing entries."""
    if isinstance(values, np.ma.MaskedArray):
        array = np.asarray(values.data)
        return np.where(np.ma.getmaskarray(values), np.nan, array) if array.dtype.kind in REAL else array
    if hasattr(values, "detach") and hasattr(values, "cpu"):  # a tensor, without importing torch
        return _of_tensor(values)
    if isinstance(values, list | tuple) and not all(isinstance(entry, PLAIN) for entry in values):
        return _of_entries([_plain(entry) for entry in values])
    column: Any = values
    if hasattr(column, "to_numpy") and hasattr(column, "isna"):  # a column or a table of pandas
        values = column.to_numpy(dtype=object) if _is_nullable(column) else column
    array = np.asarray(values)
    if array.dtype.kind == "O":
        array = _of_entries([_scalar(entry) for entry in array.ravel()]).reshape(array.shape)
    return array


def _of_tensor(tensor: Any) -> np.ndarray:
    array = tensor.detach().cpu()
    if array.is_complex():
        raise TypeError(KINDS["c"])
    return array.double().numpy()


def _of_entries(entries: list[np.ndarray]) -> np.ndarray:
    if not entries:
        return np.zeros(0)
    kinds = [entry.dtype.kind for entry in entries if entry.dtype.kind not in REAL]
    if kinds:  # stacking would turn numbers beside text into text, and dates into numbers
        raise TypeError(KINDS.get(kinds[0], "some entries are not numbers"))
    shapes = {entry.shape for entry in entries}
    if len(shapes) > 1:
        raise ValueError(f"rows of shapes {', '.join(map(str, sorted(shapes, key=str)))}")
    return np.stack([entry.astype(np.float64) for entry in entries])


def _is_nullable(column: Any) -> bool:
    dtypes = column.dtypes if hasattr(column, "columns") else [column.dtype]
    return any(not isinstance(dtype, np.dtype) for dtype in dtypes)


def _scalar(entry: Any) -> np.ndarray:
    """An entry of an object array: None and pandas.NA are missing."""
    if entry is None or type(entry).__name__ == "NAType":
        return np.array(np.nan)
    if isinstance(entry, np.generic | np.ndarray) or hasattr(entry, "detach"):
        return _plain(entry)
    if isinstance(entry, str | bytes | complex):
        raise TypeError(KINDS["c" if isinstance(entry, complex) else "U"])
    return np.array(float(entry))  # decimals, fractions; refuses dates
