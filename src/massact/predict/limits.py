"""The limits of a forecast in words: the architectures it was learnt from, and the numbers it ignores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from massact.architecture import Architecture
from massact.predict.factors import FACTORS, UNUSED, factors
from massact.predict.stored import Learned

FEW_ARCHITECTURES = 30
_NOTICEABLE = 0.01  # standard deviations


def beyond(architecture: Architecture, learned: Learned) -> dict[str, float]:
    """Factor -> distance of the architecture beyond the measured ones, in their standard deviations.

    Factors inside the measured range are left out.
    """
    at = factors(architecture)
    far = np.maximum(learned.low - at, at - learned.high) / learned.spread
    return {name: float(distance) for name, distance in zip(FACTORS, far, strict=True) if distance > 0}


def caution_text(
    architecture: Architecture,
    recipe: str,
    learned: Learned,
    outside: Mapping[str, float],
    *,
    level: float,
    banded: bool,
) -> str:
    """What the forecast was learnt from, and reasons not to trust it for this architecture.

    Parameters
    ----------
    banded
        Whether there are enough architectures for bands at the level.
    """
    n, last = learned.architectures, int(learned.steps[-1])
    layers, width = learned.ranges["n_layers"], learned.ranges["d_model"]
    sentences = [
        f"The forecast was learnt from {n} architecture{'s' * (n != 1)} of {_span(layers)} layers and width "
        f"{_span(width)}, trained by recipe {recipe} for {last:,} steps."
    ]
    if not banded:
        sentences.append(f"These are too few for a band at level {level:.6g}: it has no upper end.")
    elif n < FEW_ARCHITECTURES:
        sentences.append(f"These are few, so the {level:.6g} intervals are rough.")
    outliers = [_factor(architecture, name) for name, far in outside.items() if far > _NOTICEABLE]
    if outliers:
        sentences.append(
            f"Your architecture lies outside that range ({', '.join(outliers)}; by {max(outside.values()):.1f} "
            "standard deviations): an extrapolation, whose intervals claim no coverage."
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


def _factor(architecture: Architecture, name: str) -> str:
    """A factor's value in words."""
    a = architecture
    return {
        "log2 d": f"width {a.d_model:,}",
        "log2 L": f"{a.n_layers:,} layers",
        "log2 d_mlp/d": f"an MLP {a.d_mlp / a.d_model:.3g} times as wide",
        "log2 d/H": f"{a.d_head:,} dimensions per head",
        "rotary fraction": f"a rotary fraction of {a.rotary_fraction:g}",
        "parallel residual": f"{'parallel' if a.parallel_residual else 'sequential'} residual branches",
    }[name]


def _span(limits: tuple[int, int]) -> str:
    low, high = limits
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def _list(values: tuple[Any, ...]) -> str:
    texts = [_value(value) for value in values]
    return f"{texts[0]} to {texts[-1]}" if len(texts) > 3 else " and ".join(texts)


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
