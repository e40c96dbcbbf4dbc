"""Measurements over training: tidy tables, aggregation, and the format of the published measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massact._lazy import lazy
from massact.trajectories.schemas import ARCHITECTURES, QUANTITIES, RECORDS, REJECTED, TRAJECTORIES

if TYPE_CHECKING:
    from massact.trajectories.aggregation import aggregate
    from massact.trajectories.importing import PublishedImport, import_published

__all__ = [
    "ARCHITECTURES",
    "QUANTITIES",
    "RECORDS",
    "REJECTED",
    "TRAJECTORIES",
    "PublishedImport",
    "aggregate",
    "import_published",
]
__getattr__, __dir__ = lazy(
    __name__, {"PublishedImport": "importing", "aggregate": "aggregation", "import_published": "importing"}
)
