"""Where weights come from: the Hub, local folders, trained families."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massact._lazy import lazy

if TYPE_CHECKING:
    from massact.checkpoints.audit import audit_table, suspects
    from massact.checkpoints.bridge import load_bridge, load_tokenizer
    from massact.checkpoints.folder import FolderSource
    from massact.checkpoints.hub import HubSource
    from massact.checkpoints.reach import reachable
    from massact.checkpoints.source import CheckpointSource, CheckpointStatus, Identity, Resolved, SourceError

__all__ = [
    "CheckpointSource",
    "CheckpointStatus",
    "FolderSource",
    "HubSource",
    "Identity",
    "Resolved",
    "SourceError",
    "audit_table",
    "load_bridge",
    "load_tokenizer",
    "reachable",
    "suspects",
]
__getattr__ = lazy(
    __name__,
    {
        "CheckpointSource": "source",
        "CheckpointStatus": "source",
        "FolderSource": "folder",
        "HubSource": "hub",
        "Identity": "source",
        "Resolved": "source",
        "SourceError": "source",
        "audit_table": "audit",
        "load_bridge": "bridge",
        "load_tokenizer": "bridge",
        "reachable": "reach",
        "suspects": "audit",
    },
)
