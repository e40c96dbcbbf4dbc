"""Invalid MLflow stores: files and folders in place of a database."""

from __future__ import annotations

import os
from pathlib import Path

BROKEN = ("garbage", "a folder", "truncated", "under a file", "a pipe")


def broken_store(folder: Path, kind: str, whole: Path) -> Path:
    """The path of one of a kind in `BROKEN`; `whole` is a store that works."""
    store = folder / "mlflow.db"
    if kind == "garbage":
        store.write_bytes(b"garbage" * 1000)
    elif kind == "a folder":
        store.mkdir()
    elif kind == "truncated":
        store.write_bytes(whole.read_bytes()[:5000])
    elif kind == "a pipe":
        os.mkfifo(store)
    else:
        store.write_text("")
        store /= "mlflow.db"
    return store
