"""MLflow's store as massact uses it: runs found again by a key, one process at a time, no telemetry."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.disk import read_regular
from massact.errors import ConfigError, StorageError
from massact.names import slug

if TYPE_CHECKING:
    from mlflow import MlflowClient

# The tag by which a run is found again: the hash of what it describes.
KEY = "massact.key"
_SQLITE = "sqlite:///"
_SQLITE_HEADER = b"SQLite format 3\0"
_POLL_S = 0.1
# MLflow takes up to 250 and 6,000 characters.
_LONGEST_NAME, _LONGEST_VALUE = 240, 6000


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
def turn(tracking_uri: str, *, wait_s: float | None = None) -> Iterator[None]:
    """Hold the lock beside a SQLite store; other stores take care of themselves.

    Parameters
    ----------
    wait_s
        Seconds to wait for another process that holds it; None: as long as it takes.

    Raises
    ------
    TimeoutError
        When it was not given up in time.
    OSError
        When the lock file cannot be made or opened.
    """
    store = _database(tracking_uri)
    if store is None:
        yield
        return
    store.parent.mkdir(parents=True, exist_ok=True)
    with store.with_name(f"{store.name}.lock").open("w") as lock:
        if wait_s is None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        else:
            _lock_within(lock.fileno(), lock.name, wait_s)
        yield


def require_database(tracking_uri: str) -> None:
    """Look at a SQLite store before MLflow does, which takes two minutes to find that it is none.

    Raises
    ------
    StorageError
        When what is there is no database of SQLite.
    """
    store = _database(tracking_uri)
    if store is None or not store.exists():
        return
    try:
        begin = read_regular(store, len(_SQLITE_HEADER), whole=False)
    except OSError as error:
        raise StorageError(f"{store} cannot be read ({error.strerror})", "give another tracking.uri") from None
    if begin and begin != _SQLITE_HEADER:
        raise StorageError(f"{store} is no SQLite database", "move it away, or give another tracking.uri")


def _lock_within(descriptor: int, name: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} is held by another process") from None
            time.sleep(_POLL_S)
        else:
            return


def valid_params(said: Mapping[str, Any]) -> dict[str, str]:
    """Names and values as MLflow takes them: other characters become `_`, and long values are cut.

    >>> valid_params({"heads@[4,8]": 4})
    {'heads_4_8': '4'}
    """
    valid: dict[str, str] = {}
    for name, value in said.items():
        parts = re.sub(r"[^A-Za-z0-9_\-. :/]+", "_", str(name)).split("/")
        joined = "/".join(part.strip("_ ") for part in parts if part.strip("_. "))
        safe = base = joined[:_LONGEST_NAME].rstrip("/. ") or "unnamed"
        number = 2
        while safe in valid:
            safe, number = f"{base}_{number}", number + 1
        valid[safe] = str(value)[:_LONGEST_VALUE]
    return valid


def _database(tracking_uri: str) -> Path | None:
    return Path(tracking_uri.removeprefix(_SQLITE)) if tracking_uri.startswith(_SQLITE) else None
