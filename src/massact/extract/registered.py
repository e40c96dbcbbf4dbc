"""The statistics that a configuration can name, and the only list of them."""

from __future__ import annotations

from massact.errors import MeasureError
from massact.extract.magnitudes import DEFAULT
from massact.extract.statistic import Statistic, lacking
from massact.registry import Registry

STATISTICS: Registry[Statistic] = Registry("statistic", "massact.statistics", [DEFAULT], lacking, MeasureError)
register = STATISTICS.register
get_statistic = STATISTICS.get_named
