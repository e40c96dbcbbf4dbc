"""Turn a configuration into objects, once: sources of checkpoints, probes, sweep options and suites."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massact._lazy import lazy

if TYPE_CHECKING:
    from massact.compose.options import sweep_options
    from massact.compose.probes import probe_of
    from massact.compose.sources import selected_steps, source_of
    from massact.compose.stated import Stated, hold_to_model
    from massact.compose.suite import chosen, members_of, suite_of

__all__ = [
    "Stated",
    "chosen",
    "hold_to_model",
    "members_of",
    "probe_of",
    "selected_steps",
    "source_of",
    "suite_of",
    "sweep_options",
]
__getattr__, __dir__ = lazy(
    __name__,
    {
        "Stated": "stated",
        "chosen": "suite",
        "hold_to_model": "stated",
        "members_of": "suite",
        "probe_of": "probes",
        "source_of": "sources",
        "suite_of": "suite",
        "sweep_options": "options",
        "selected_steps": "sources",
    },
)
