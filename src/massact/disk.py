"""Room on disks, files written whole or not at all, and what is said when there is no room."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
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


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write a text file whole or not at all, its folder included; `durable` waits until the disk has it.

    Raises
    ------
    StorageError
        When the disk refuses.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise refused(error, path.parent, len(text), "write elsewhere (paths.*, hydra.run.dir)") from None
