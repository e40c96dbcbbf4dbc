"""Measurements over training: tidy tables, aggregation, the published format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massact._lazy import lazy
from massact.trajectories.table import QUANTITIES, RECORDS, TRAJECTORIES

if TYPE_CHECKING:
    from massact.trajectories.aggregation import aggregate

__all__ = ["QUANTITIES", "RECORDS", "TRAJECTORIES", "aggregate"]
__getattr__ = lazy(__name__, {"aggregate": "aggregation"})
