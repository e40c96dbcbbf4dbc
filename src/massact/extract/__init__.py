"""Attach to a loaded model, reduce or edit its hidden states on one set of tokens, and sweep over checkpoints.

There is one record for each combination of weights, tokens, statistic and version of the statistic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from massact._lazy import lazy

if TYPE_CHECKING:
    from massact.extract.edits import edited
    from massact.extract.magnitudes import Magnitudes
    from massact.extract.measurement import measure
    from massact.extract.probe import Probe
    from massact.extract.protocol import PROTOCOL_VERSION, Measurement
    from massact.extract.registered import STATISTICS, get_statistic, register
    from massact.extract.statistic import Statistic
    from massact.extract.store import RecordStore
    from massact.extract.work import Work

__all__ = [
    "PROTOCOL_VERSION",
    "STATISTICS",
    "Magnitudes",
    "Measurement",
    "Probe",
    "RecordStore",
    "Statistic",
    "Work",
    "edited",
    "get_statistic",
    "measure",
    "register",
]
__getattr__, __dir__ = lazy(
    __name__,
    {
        "edited": "edits",
        "measure": "measurement",
        "Magnitudes": "magnitudes",
        "PROTOCOL_VERSION": "protocol",
        "Measurement": "protocol",
        "Probe": "probe",
        "STATISTICS": "registered",
        "get_statistic": "registered",
        "register": "registered",
        "RecordStore": "store",
        "Statistic": "statistic",
        "Work": "work",
    },
)
