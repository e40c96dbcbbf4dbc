"""The checked arguments of a forecast: an architecture, steps, a level."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable, Mapping
from dataclasses import fields
from numbers import Real
from typing import Any, SupportsIndex

from massact.architecture import Architecture
from massact.errors import ConfigError
from massact.predict.factors import SIZES

NAMES = tuple(field.name for field in fields(Architecture))
EXAMPLE = "n_layers=24 d_model=1024 n_heads=16 d_mlp=4096"


def architecture_of(numbers: Architecture | Mapping[str, Any]) -> Architecture:
    """The architecture itself, or the one that a mapping of its numbers describes.

    Raises
    ------
    ConfigError
        A name is unknown, a required number is missing, or the argument is neither.

    >>> architecture_of({"n_layers": 2, "d_model": 64, "n_heads": 4, "d_mlp": 256}).d_head
    16
    """
    if isinstance(numbers, Architecture):
        return numbers
    if not isinstance(numbers, Mapping):
        raise ConfigError(f"a forecast needs an architecture, not a {type(numbers).__name__}", "pass Architecture")
    for name in numbers:
        known_name(name)
    missing = [name for name in SIZES if name not in numbers]
    if missing:
        raise ConfigError(f"{', '.join(missing)} not given", f"e.g. {EXAMPLE}")
    return Architecture(**numbers)


def known_name(name: Any) -> str:
    """The name if it is one of an architecture's numbers; otherwise ConfigError with the nearest ones."""
    if name not in NAMES:
        text = " ".join(str(name)[:60].split())
        near = difflib.get_close_matches(text, NAMES, n=3, cutoff=0.3) or NAMES
        raise ConfigError(f"{text} is not a number of an architecture", f"nearest: {', '.join(near)}")
    return name


def steps_of(steps: SupportsIndex | Iterable[SupportsIndex] | None) -> list[int] | None:
    """The distinct steps in ascending order; None stays None.

    Raises
    ------
    ConfigError
        There are no steps, or one is not an integer.
    """
    if steps is None:
        return None
    try:
        numbers = list(steps) if isinstance(steps, Iterable) else [operator.index(steps)]
    except TypeError:
        raise ConfigError(f"steps = {_short(steps)} is not a list of steps", "e.g. steps=[512, 2048]") from None
    if not numbers:
        raise ConfigError("no steps are given", "e.g. steps=[512, 2048], or None for three of them")
    return sorted({_step(step) for step in numbers})


def _step(step: Any) -> int:
    """An integer, which may be written as a float."""
    if isinstance(step, float) and step.is_integer():
        return int(step)
    number: Any = None if isinstance(step, bool) else step
    try:
        return operator.index(number)
    except TypeError:
        raise ConfigError(f"step {_short(step)} is not a whole number", "e.g. steps=[512, 2048]") from None


def level_of(level: float) -> float:
    """The level if it lies strictly between 0 and 1; otherwise ConfigError."""
    if not isinstance(level, Real) or not 0 < level < 1:
        raise ConfigError(f"level = {_short(level)} is not between 0 and 1", "give a number between 0 and 1, e.g. 0.9")
    return float(level)


def _short(value: Any) -> str:
    return " ".join(repr(value)[:60].split())
