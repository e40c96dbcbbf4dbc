"""Where weights come from: the Hub, local folders, trained families."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massact._lazy import lazy

if TYPE_CHECKING:
    from massact.checkpoints.audit import audit_table, suspects
    from massact.checkpoints.folder import FolderSource
    from massact.checkpoints.hub import HubSource
    from massact.checkpoints.source import CheckpointSource, CheckpointStatus, Resolved, SourceError

__all__ = [
    "CheckpointSource",
    "CheckpointStatus",
    "FolderSource",
    "HubSource",
    "Resolved",
    "SourceError",
    "audit_table",
    "suspects",
]
__getattr__ = lazy(
    __name__,
    {
        "CheckpointSource": "source",
        "CheckpointStatus": "source",
        "FolderSource": "folder",
        "HubSource": "hub",
        "Resolved": "source",
        "SourceError": "source",
        "audit_table": "audit",
        "suspects": "audit",
    },
)
