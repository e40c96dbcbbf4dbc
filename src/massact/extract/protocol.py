"""What a measurement is, apart from how it is made: importable without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int32
from numpy import ndarray

# Raise when a change alters any measured number: it is part of every record's key, and DVC's dependency.
PROTOCOL_VERSION = 1
TOP_K = 3
# The two ways to read a block's output; equal to the last bit wherever the first is taken.
BRIDGE = "bridge"
PLAIN_HOOKS = "plain hooks"


@dataclass(frozen=True)
class Measurement:
    """Magnitudes of the residual stream after each block.

    Attributes
    ----------
    top : float32 (sequence, layer, k)
        Largest |h|, descending; unitless.
    token, dimension : int32 (sequence, layer, k)
        Position in the sequence and index in the residual stream of each.
    median : float32 (sequence, layer)
        Lower median of |h| over all positions and dimensions.
    attached
        How the blocks were read: "bridge" or "plain hooks", and after a colon why the bridge did not serve where it was
        tried; empty for records older than this word.
    """

    top: Float32[ndarray, "sequence layer k"]
    token: Int32[ndarray, "sequence layer k"]
    dimension: Int32[ndarray, "sequence layer k"]
    median: Float32[ndarray, "sequence layer"]
    attached: str = ""

    def __repr__(self) -> str:
        """Its size and its largest value, not its arrays."""
        sequences, layers, k = self.top.shape
        said = f"Measurement({sequences} sequences, {layers} layers, top {k}"
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

    @property
    def ratio(self) -> Float[ndarray, "sequence layer"]:
        """Top-1 over median for each sequence (paper Eq. 6)."""
        return self.top[..., 0] / self.median

    def arrays(self) -> dict[str, ndarray]:
        """The four arrays by name."""
        return {"top": self.top, "token": self.token, "dimension": self.dimension, "median": self.median}

    def is_massive(self) -> np.ndarray:
        """Sun et al. 2024's rule, per (sequence, layer): top-1 above 100 and at least 1,000 medians."""
        return (self.top[..., 0] > 100) & (self.top[..., 0] >= 1000 * self.median)
