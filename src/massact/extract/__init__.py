"""Measure one loaded model on one set of tokens; keep one record per (weights, tokens, protocol)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massact._lazy import lazy

if TYPE_CHECKING:
    from massact.extract.hooks import measure
    from massact.extract.probe import Probe
    from massact.extract.protocol import PROTOCOL_VERSION, Measurement
    from massact.extract.store import RecordStore

__all__ = ["PROTOCOL_VERSION", "Measurement", "Probe", "RecordStore", "measure"]
__getattr__, __dir__ = lazy(
    __name__,
    {
        "measure": "hooks",
        "PROTOCOL_VERSION": "protocol",
        "Measurement": "protocol",
        "Probe": "probe",
        "RecordStore": "store",
    },
)
