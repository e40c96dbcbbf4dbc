"""Measure one loaded model on one set of tokens; keep one record per (weights, tokens, protocol)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from massact.extract.protocol import PROTOCOL_VERSION, Measurement

if TYPE_CHECKING:
    from massact.extract.hooks import measure

__all__ = ["PROTOCOL_VERSION", "Measurement", "measure"]


def __getattr__(name: str) -> Any:
    """Import `measure`, and with it torch, only when asked for."""
    if name == "measure":
        from massact.extract.hooks import measure

        return measure
    raise AttributeError(name)
