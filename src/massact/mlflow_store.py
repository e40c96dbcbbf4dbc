"""MLflow's store as massact uses it: runs found again by a key, one process at a time, no telemetry."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.errors import ConfigError
from massact.names import slug

if TYPE_CHECKING:
    from mlflow import MlflowClient

# The tag by which a run is found again: the hash of what it describes.
KEY = "massact.key"
_SQLITE = "sqlite:///"


def key_of(content: Any) -> str:
    """Hash of what JSON can say, in any order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def open_client(tracking_uri: str) -> MlflowClient:
    """A client of the store, which is made if it is not there.

    Raises
    ------
    ConfigError
        When MLflow knows no such store.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        return MlflowClient(tracking_uri)
    except MlflowException as error:
        raise ConfigError(
            f"tracking.uri = {tracking_uri} ({error.message.strip().split('. ')[0]})",
            "e.g. sqlite:///mlflow.db, or tracking=none",
        ) from None


def experiment_id(client: MlflowClient, name: str, tracking_uri: str) -> str:
    """The experiment of this name, made if it is not there; beside a SQLite store lie its files, below `mlruns`."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    store = _database(tracking_uri)
    where = None if store is None else (store.parent / "mlruns" / slug(name)).resolve().as_uri()
    return client.create_experiment(name, artifact_location=where)


@contextmanager
def turn(tracking_uri: str) -> Iterator[None]:
    """Hold the lock beside a SQLite store; other stores take care of themselves."""
    store = _database(tracking_uri)
    if store is None:
        yield
        return
    store.parent.mkdir(parents=True, exist_ok=True)
    with store.with_name(f"{store.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _database(tracking_uri: str) -> Path | None:
    return Path(tracking_uri.removeprefix(_SQLITE)) if tracking_uri.startswith(_SQLITE) else None
