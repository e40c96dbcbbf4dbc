"""Measurements over training: tidy tables, aggregation, the published format."""

from massact.trajectories.aggregate import aggregate
from massact.trajectories.table import QUANTITIES, RECORDS, TRAJECTORIES

__all__ = ["QUANTITIES", "RECORDS", "TRAJECTORIES", "aggregate"]
