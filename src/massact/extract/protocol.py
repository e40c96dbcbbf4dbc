"""The result of a measurement. Importable without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Float32, Int32
from numpy import ndarray

from massact.errors import MeasureError
from massact.extract.options import MAGNITUDES
from massact.markup import html_table

# Raise when a change alters any measured number. It is part of every record's key, and a dependency in DVC.
PROTOCOL_VERSION = 1
TOP_K = 3
# The two ways to read a block's output. Wherever the first is used, the second gives the same bits.
BRIDGE = "bridge"
PLAIN_HOOKS = "plain hooks"


class RecordKind(Protocol):
    """The kind of a record's arrays: a `Statistic`, or another result that a sweep's work keeps of a checkpoint."""

    @property
    def name(self) -> str:
        """Their name in a `Measurement`."""
        ...

    def check(self, arrays: Mapping[str, ndarray], parts: Mapping[str, Any]) -> None:
        """Raise ValueError when arrays read from a disk cannot be of this kind, given the parts of their key."""
        ...


def edits_text(edits: Sequence[str]) -> str:
    """The edits of a measurement, for a message."""
    if not edits:
        return "the model without edits"
    return "the model under edits (" + "; ".join(name or "without a name" for name in edits) + ")"


@dataclass(frozen=True)
class Reduced:
    """A statistic, and its arrays by name."""

    kind: RecordKind
    arrays: Mapping[str, ndarray]


@dataclass(frozen=True)
class Measurement:
    """The results of all statistics for one model and one set of tokens.

    `top`, `token`, `dimension` and `median` are those of `Magnitudes`. `arrays(name)` returns any other statistic's.

    Attributes
    ----------
    reduced
        Each statistic with its arrays, by name.
    attached
        How the blocks were read: "bridge" or "plain hooks". Where a bridge was tried and not used, the reason follows
        after a colon. Empty for old records.
    edits
        The names of the edits under which the model was measured (`massact.extract.edited`), outermost first. Empty for
        the model itself.
    """

    reduced: Mapping[str, Reduced]
    attached: str = ""
    edits: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Its size and its largest value, without the arrays."""
        others = ", ".join(name for name in self.reduced if name != MAGNITUDES)
        if MAGNITUDES not in self.reduced:
            return f"Measurement({others})"
        more = f", {others}" if others else ""
        sequences, layers, k = self.top.shape
        text = f"Measurement({sequences} sequences, {layers} layers, top {k}{more}"
        largest = self.top[..., 0]
        if not largest.size or not np.isfinite(largest).any():
            return f"{text})"
        s, layer = np.unravel_index(int(np.nanargmax(largest)), largest.shape)
        with np.errstate(all="ignore"):
            times = largest[s, layer] / self.median[s, layer]
        return (
            f"{text}; largest |h| {largest[s, layer]:.4g} at layer {layer}, position {self.token[s, layer, 0]}, "
            f"dimension {self.dimension[s, layer, 0]} of sequence {s}, {times:.4g} times its median)"
        )

    def _repr_html_(self) -> str:
        """For notebooks: the mean over sequences in each layer, and where the largest value most often is."""
        if MAGNITUDES not in self.reduced:
            return html_table(["statistic"], [[name] for name in self.reduced], title="Measurement")
        sequences, layers, _ = self.top.shape
        rows: list[list[object]] = []
        for layer in range(layers):
            places = list(zip(self.token[:, layer, 0].tolist(), self.dimension[:, layer, 0].tolist(), strict=True))
            token, dimension = max(places, key=places.count)
            with np.errstate(all="ignore"):
                ratio = self.top[:, layer, 0].mean() / self.median[:, layer].mean()
            cells = (f"{self.top[:, layer, 0].mean():.4g}", f"{self.median[:, layer].mean():.4g}", f"{ratio:.4g}")
            rows.append([layer, *cells, f"position {token}, dimension {dimension}"])
        title = f"Measurement: {sequences} sequences, {layers} layers"
        return html_table(["layer", "largest |h|", "median |h|", "ratio", "where"], rows, title=title)

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
        """Top-1 over median of each sequence (paper Eq. 6)."""
        return self.top[..., 0] / self.median

    def is_massive(self) -> np.ndarray:
        """Sun et al. 2024's rule, per (sequence, layer): top-1 above 100 and at least 1,000 medians."""
        return (self.top[..., 0] > 100) & (self.top[..., 0] >= 1000 * self.median)

    def only(self, statistic: str) -> Measurement:
        """This measurement without the other statistics."""
        self.arrays(statistic)
        return replace(self, reduced={statistic: self.reduced[statistic]})

    def with_also(self, other: Measurement) -> Measurement:
        """This measurement and another one of the same model, under the same edits, on the same tokens.

        Raises
        ------
        MeasureError
            When their edits differ.
        """
        if self.edits != other.edits:
            raise MeasureError(
                f"one measurement is of {edits_text(self.edits)}, the other of {edits_text(other.edits)}",
                "put together measurements of one model",
            )
        return Measurement({**self.reduced, **other.reduced}, self.attached or other.attached, self.edits)
