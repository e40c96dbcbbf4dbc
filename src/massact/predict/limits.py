"""The limits of a forecast in words: the architectures it was learnt from, and the numbers it ignores."""

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
_ARCHITECTURE_FEATURES = 4  # they come first; the others are of relative depth, which is always covered


def beyond(features: Float[ndarray, "layer feature"], learned: Learned) -> dict[int, float]:
    """Feature number -> distance of the architecture beyond the measured ones, in their standard deviations.

    Features inside the measured range are left out. Those of relative depth always lie inside.
    """
    far = np.maximum(learned.low - features, features - learned.high).max(axis=0) / learned.spread
    return {number: float(far[number]) for number in range(_ARCHITECTURE_FEATURES) if far[number] > 0}


def caution_text(
    architecture: Architecture, recipe: str, learned: Learned, outside: Mapping[int, float], level: float
) -> str:
    """What the forecast was learnt from, and reasons not to trust it for this architecture."""
    n, last = learned.architectures, int(learned.anchors[-1])
    layers, width = learned.ranges["n_layers"], learned.ranges["d_model"]
    sentences = [
        f"The forecast was learnt from {n} architecture{'s' * (n != 1)} of {_span(layers)} layers and width "
        f"{_span(width)}, trained by recipe {recipe} for {last:,} steps."
    ]
    if n < FEW_ARCHITECTURES:
        sentences.append(f"These are few, so the {level:.6g} intervals are rough.")
    rows = learned.residuals.shape[1]
    if math.ceil(level * (rows + 1)) > rows:
        sentences.append(f"Its {rows} curves are too few for level {level:.6g}: the intervals may be too narrow.")
    outliers = [_feature(architecture, number) for number, far in outside.items() if far > _NOTICEABLE]
    if outliers:
        sentences.append(
            f"Your architecture lies outside that range ({', '.join(outliers)}; by {max(outside.values()):.1f} "
            "standard deviations): an extrapolation."
        )
    return " ".join(sentences)


def unused_text(architecture: Architecture, learned: Learned) -> str:
    """The numbers that the forecast ignores, with the values of the measured architectures."""
    values = ", ".join(f"{name} ({_list(learned.unused[name])})" for name in UNUSED)
    sentences = [f"Not used: {values}. In brackets: the values of the measured architectures."]
    defaults: dict[str, Any] = {field.name: field.default for field in fields(Architecture)}
    for name in UNUSED:
        value = getattr(architecture, name)
        if value != defaults[name]:
            known = "" if value in learned.unused[name] else ", and none of them had it"
            sentences.append(f"Your {name}={_value(value)} makes no difference to the forecast{known}.")
    return " ".join(sentences)


def _feature(architecture: Architecture, number: int) -> str:
    a = architecture
    return (
        f"width {a.d_model:,}",
        f"{a.n_layers:,} layers",
        f"{a.d_head:,} dimensions per head",
        f"an MLP {a.d_mlp / a.d_model:.3g} times as wide",
    )[number]


def _span(limits: tuple[int, int]) -> str:
    low, high = limits
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def _list(values: tuple[Any, ...]) -> str:
    texts = [_value(value) for value in values]
    return f"{texts[0]} to {texts[-1]}" if len(texts) > 3 else " and ".join(texts)


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
