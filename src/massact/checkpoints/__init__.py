"""Where weights come from: the Hub, local folders, trained families, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massact._lazy import lazy

if TYPE_CHECKING:
    from massact.checkpoints.audit import audit_table, suspects
    from massact.checkpoints.branches import Branches, list_branches
    from massact.checkpoints.bridge import load_bridge, load_tokenizer
    from massact.checkpoints.folder import FolderSource
    from massact.checkpoints.hub import HubSource
    from massact.checkpoints.memory import MemorySource
    from massact.checkpoints.reach import reachable
    from massact.checkpoints.source import CheckpointSource, CheckpointStatus, Identity, Resolved, SourceError

__all__ = [
    "Branches",
    "CheckpointSource",
    "CheckpointStatus",
    "FolderSource",
    "HubSource",
    "Identity",
    "MemorySource",
    "Resolved",
    "SourceError",
    "audit_table",
    "list_branches",
    "load_bridge",
    "load_tokenizer",
    "reachable",
    "suspects",
]
__getattr__, __dir__ = lazy(
    __name__,
    {
        "CheckpointSource": "source",
        "CheckpointStatus": "source",
        "FolderSource": "folder",
        "HubSource": "hub",
        "Identity": "source",
        "MemorySource": "memory",
        "Resolved": "source",
        "SourceError": "source",
        "Branches": "branches",
        "audit_table": "audit",
        "list_branches": "branches",
        "load_bridge": "bridge",
        "load_tokenizer": "bridge",
        "reachable": "reach",
        "suspects": "audit",
    },
)
