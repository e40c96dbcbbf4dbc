"""What a forecast rests on and where it ends, in words: the architectures it was learnt from, and what it ignores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from massact.architecture import Architecture
from massact.predict.basis import UNUSED
from massact.predict.stored import Learned

FEW_ARCHITECTURES = 30
_NOTICEABLE = 0.01  # standard deviations
_OWN = 4  # features of the architecture, which come first; relative depth is always covered


def beyond(features: Float[ndarray, "layer feature"], learned: Learned) -> dict[int, float]:
    """Feature number -> how far the architecture lies beyond the measured ones, in their standard deviations.

    Only features that lie beyond are named; those of relative depth never do.
    """
    far = np.maximum(learned.low - features, features - learned.high).max(axis=0) / learned.spread
    return {number: float(far[number]) for number in range(_OWN) if far[number] > 0}


def caution_text(
    architecture: Architecture, recipe: str, learned: Learned, outside: Mapping[int, float], level: float
) -> str:
    """What the forecast was learnt from, and why it may not hold for this architecture."""
    n, last = learned.architectures, int(learned.anchors[-1])
    layers, width = learned.ranges["n_layers"], learned.ranges["d_model"]
    said = [
        f"The forecast was learnt from {n} architecture{'s' * (n != 1)} of {_span(layers)} layers and width "
        f"{_span(width)}, trained by recipe {recipe} for {last:,} steps."
    ]
    if n < FEW_ARCHITECTURES:
        said.append(f"These are few, so the {level:.6g} intervals are rough.")
    rows = learned.residuals.shape[1]
    if math.ceil(level * (rows + 1)) > rows:
        said.append(f"Its {rows} curves are too few for level {level:.6g}: the intervals may be too narrow.")
    named = [_feature(architecture, number) for number, far in outside.items() if far > _NOTICEABLE]
    if named:
        said.append(
            f"Your architecture lies outside that range ({', '.join(named)}; by {max(outside.values()):.1f} standard "
            "deviations): an extrapolation."
        )
    return " ".join(said)


def unused_text(architecture: Architecture, learned: Learned) -> str:
    """The numbers that the forecast does not use, with the values that the measured architectures had."""
    seen = ", ".join(f"{name} ({_list(learned.unused[name])})" for name in UNUSED)
    said = [f"Not used: {seen}. In brackets: what the measured architectures had."]
    defaults: dict[str, Any] = {field.name: field.default for field in fields(Architecture)}
    for name in UNUSED:
        value = getattr(architecture, name)
        if value != defaults[name]:
            known = "" if value in learned.unused[name] else ", and none of them had it"
            said.append(f"Your {name}={_value(value)} makes no difference to the forecast{known}.")
    return " ".join(said)


def _feature(architecture: Architecture, number: int) -> str:
    a = architecture
    return (
        f"width {a.d_model:,}",
        f"{a.n_layers:,} layers",
        f"{a.d_head:,} dimensions a head",
        f"an MLP {a.d_mlp / a.d_model:.3g} times as wide",
    )[number]


def _span(limits: tuple[int, int]) -> str:
    low, high = limits
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def _list(values: tuple[Any, ...]) -> str:
    shown = [_value(value) for value in values]
    if len(shown) > 3:
        return f"{shown[0]} to {shown[-1]}"
    return " and ".join(shown)


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
