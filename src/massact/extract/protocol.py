"""What a measurement is, apart from how it is made: importable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Float32, Int32
from numpy import ndarray

from massact.errors import MeasureError
from massact.extract.options import MAGNITUDES

# Raise when a change alters any measured number: it is part of every record's key, and DVC's dependency.
PROTOCOL_VERSION = 1
TOP_K = 3
# The two ways to read a block's output; equal to the last bit wherever the first is taken.
BRIDGE = "bridge"
PLAIN_HOOKS = "plain hooks"


class RecordKind(Protocol):
    """What the arrays of one record are: a `Statistic`, or whatever else a sweep's work keeps of a checkpoint."""

    @property
    def name(self) -> str:
        """Under which a `Measurement` has them."""
        ...

    def check(self, arrays: Mapping[str, ndarray], parts: Mapping[str, Any]) -> None:
        """Raise ValueError when arrays read from a disk cannot be of this kind, under a key of these parts."""
        ...


@dataclass(frozen=True)
class Reduced:
    """The arrays of one statistic, by name, with the statistic."""

    kind: RecordKind
    arrays: Mapping[str, ndarray]


@dataclass(frozen=True)
class Measurement:
    """What was measured of one model on one set of tokens, by the name of each statistic.

    `top`, `token`, `dimension` and `median` are those of `Magnitudes`; `arrays(name)` gives any other statistic's.

    Attributes
    ----------
    reduced
        Each statistic with its arrays, by its name.
    attached
        How the blocks were read: "bridge" or "plain hooks", and after a colon why the bridge did not serve where it was
        tried; empty for records older than this word.
    """

    reduced: Mapping[str, Reduced]
    attached: str = ""

    def __repr__(self) -> str:
        """Its size and its largest value, not its arrays."""
        others = ", ".join(name for name in self.reduced if name != MAGNITUDES)
        if MAGNITUDES not in self.reduced:
            return f"Measurement({others})"
        more = f", {others}" if others else ""
        sequences, layers, k = self.top.shape
        said = f"Measurement({sequences} sequences, {layers} layers, top {k}{more}"
        largest = self.top[..., 0]
        if not largest.size or not np.isfinite(largest).any():
            return f"{said})"
        s, layer = np.unravel_index(int(np.nanargmax(largest)), largest.shape)
        with np.errstate(all="ignore"):
            times = largest[s, layer] / self.median[s, layer]
        return (
            f"{said}; largest |h| {largest[s, layer]:.4g} at layer {layer}, position {self.token[s, layer, 0]}, "
            f"dimension {self.dimension[s, layer, 0]} of sequence {s}, {times:.4g} times its median)"
        )

    def arrays(self, statistic: str = MAGNITUDES) -> dict[str, ndarray]:
        """The arrays of a statistic, by name.

        Raises
        ------
        MeasureError
            When it was not measured.
        """
        if statistic not in self.reduced:
            raise MeasureError(
                f"{statistic} was not measured, only {', '.join(self.reduced) or 'nothing'}",
                "name it among the statistics: measure(model, tokens, statistics=(...,))",
            )
        return dict(self.reduced[statistic].arrays)

    @property
    def top(self) -> Float32[ndarray, "sequence layer k"]:
        """Largest |h|, descending; unitless."""
        return self.arrays()["top"]

    @property
    def token(self) -> Int32[ndarray, "sequence layer k"]:
        """Position in the sequence of each of `top`."""
        return self.arrays()["token"]

    @property
    def dimension(self) -> Int32[ndarray, "sequence layer k"]:
        """Index in the residual stream of each of `top`."""
        return self.arrays()["dimension"]

    @property
    def median(self) -> Float32[ndarray, "sequence layer"]:
        """Lower median of |h| over all positions and dimensions; unitless."""
        return self.arrays()["median"]

    @property
    def ratio(self) -> Float[ndarray, "sequence layer"]:
        """Top-1 over median for each sequence (paper Eq. 6)."""
        return self.top[..., 0] / self.median

    def is_massive(self) -> np.ndarray:
        """Sun et al. 2024's rule, per (sequence, layer): top-1 above 100 and at least 1,000 medians."""
        return (self.top[..., 0] > 100) & (self.top[..., 0] >= 1000 * self.median)

    def only(self, statistic: str) -> Measurement:
        """The same without other statistics."""
        self.arrays(statistic)
        return Measurement({statistic: self.reduced[statistic]}, self.attached)

    def with_also(self, other: Measurement) -> Measurement:
        """This one and what another has measured of the same model on the same tokens."""
        return Measurement({**self.reduced, **other.reduced}, self.attached or other.attached)
