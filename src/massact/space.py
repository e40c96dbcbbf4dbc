"""Ranges that the architectures of a designed suite are drawn from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from massact.errors import ConfigError

# A head's width must be a multiple of this: a quarter of it then rotates in whole pairs.
HEAD_MULTIPLE = 8


@dataclass(frozen=True, kw_only=True)
class DesignSpace:
    """Ranges of the factors, ends included.

    Parameters
    ----------
    layers, width, heads, mlp_ratio
        Smallest and largest. Depth is spread evenly, the others evenly in their logarithm.
    width_multiple
        Widths are multiples of this.
    rotary_fractions, parallel_residual
        Choices, equally frequent.

    Raises
    ------
    ConfigError
        A range that is not two numbers, is empty or holds no valid architecture.
    """

    layers: tuple[int, int]
    width: tuple[int, int]
    heads: tuple[int, int]
    mlp_ratio: tuple[float, float]
    width_multiple: int = 16
    rotary_fractions: tuple[float, ...] = (0.25, 1.0)
    parallel_residual: tuple[bool, ...] = (True, False)

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "mlp_ratio", "rotary_fractions", "parallel_residual"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # a configuration gives lists
        for name in ("layers", "width", "heads", "mlp_ratio"):
            ends = getattr(self, name)
            if len(ends) != 2:
                raise ConfigError(f"suite.space.{name} = {list(ends)}", "give [smallest, largest]")
            low, high = ends
            if not 0 < low <= high:
                raise ConfigError(f"suite.space.{name} = [{low}, {high}] is not a range", "give [smallest, largest]")
        if not self.rotary_fractions or not self.parallel_residual:
            raise ConfigError("suite.space has no choice of rotary_fractions or parallel_residual", "give at least one")
        if self.width_multiple % HEAD_MULTIPLE or not self.widths():
            raise ConfigError(
                f"suite.space: no width in {list(self.width)} is a multiple of {self.width_multiple}",
                f"give a multiple of {HEAD_MULTIPLE} that has one",
            )

    def widths(self) -> list[int]:
        """Widths in the range."""
        first = math.ceil(self.width[0] / self.width_multiple) * self.width_multiple
        return list(range(first, self.width[1] + 1, self.width_multiple))

    def head_counts(self, width: int) -> list[int]:
        """Head counts in the range that give heads of a valid width."""
        low, high = self.heads
        return [h for h in range(low, high + 1) if width % h == 0 and (width // h) % HEAD_MULTIPLE == 0]
