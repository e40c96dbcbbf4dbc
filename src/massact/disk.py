"""Room on disks, and what is said when there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

from massact.errors import StorageError


def free_bytes(folder: Path) -> int:
    """Free space where a folder is or will be."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def refused(error: OSError, folder: Path, needed: int, otherwise: str) -> StorageError:
    """The error for a disk that does not take what must be written: where, how much, and how much there is."""
    free = free_bytes(folder)
    return StorageError(
        f"{folder} cannot be written to ({error.strerror}; {needed} bytes needed, {free} free)",
        f"free space there or {otherwise}; what is finished is kept",
    )
