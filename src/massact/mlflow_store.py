"""Access to MLflow's store: runs have keys, one process writes at a time, telemetry is off."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from massact.disk import read_regular, storing
from massact.errors import ConfigError, StorageError
from massact.extras import extras_named
from massact.names import slug

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("massact")
# The tag with a run's key: the hash of what it describes.
KEY = "massact.key"
# The tag by which MLflow's pages recognise an experiment about model training, and show its runs instead of traces.
KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"
_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
_SQLITE = "sqlite:///"
_SQLITE_HEADER = b"SQLite format 3\0"
_POLL_S, _SILENCE_S = 0.1, 2.0
_HOLDER_BYTES = 200
# By default MLflow retries a silent server for many minutes, and a database ten times (two minutes).
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
_TRIES = 3
# These loggers print the traceback of errors that are also raised.
_LOUD = ("mlflow.store.db.utils", "mlflow.store.tracking.sqlalchemy_store", "alembic")
# MLflow's limits are 250 and 6,000 characters.
_LONGEST_NAME, _LONGEST_VALUE = 240, 6000


def key_of(content: Any) -> str:
    """Hash of a JSON value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def opened(tracking_uri: str, experiment: str, *, wait_s: float) -> Iterator[tuple[MlflowClient, str]]:
    """A client and the id of the experiment, while the lock keeps other processes of massact from writing.

    Parameters
    ----------
    wait_s
        Seconds to wait for another process that holds the store.

    Raises
    ------
    ConfigError
        When MLflow knows no such store.
    StorageError
        When the store is locked for too long, is not a database, or the experiment was deleted. Exceptions of servers,
        drivers and databases pass through.
    """
    with patience(tracking_uri), turn(tracking_uri, wait_s=wait_s):
        client = open_client(tracking_uri)
        yield client, experiment_id(client, experiment, tracking_uri)


def open_client(tracking_uri: str) -> MlflowClient:
    """A client of the store, which is created if it does not exist.

    Raises
    ------
    ConfigError
        When MLflow knows no such store.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    with extras_named():
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

    try:
        return MlflowClient(tracking_uri)
    except MlflowException as error:
        if re.split(r"[:+]", tracking_uri)[0] in _SCHEMES:
            raise  # a known kind of store that failed
        raise ConfigError(
            f"tracking.uri = {tracking_uri} ({error.message.strip().split('. ')[0]})",
            "e.g. sqlite:///mlflow.db, or tracking=none",
        ) from None


def experiment_id(client: MlflowClient, name: str, tracking_uri: str) -> str:
    """The id of an experiment, which is created if needed. Files of a SQLite store are in `mlruns` beside it.

    Raises
    ------
    StorageError
        When the experiment was deleted: MLflow then keeps its name but accepts no runs.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        store = _database(tracking_uri)
        where = None if store is None else (store.parent / "mlruns" / slug(name)).resolve().as_uri()
        return client.create_experiment(name, artifact_location=where, tags={KIND: TRAINING})
    if experiment.lifecycle_stage == "deleted":
        raise StorageError(
            f"the experiment {name} of {tracking_uri} was deleted",
            f"restore it with: MLFLOW_TRACKING_URI={tracking_uri} mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}, or give another tracking.experiment",
        )
    if KIND not in experiment.tags:  # a user's own choice is kept
        client.set_experiment_tag(experiment.experiment_id, KIND, TRAINING)
    return experiment.experiment_id


def source_tags() -> dict[str, str]:
    """MLflow's tags for the logging command, and for the Git commit of its working folder if there is one."""
    tags = {"mlflow.source.type": "LOCAL", "mlflow.source.name": Path(sys.argv[0]).name or "python"}
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["git", "rev-parse", "--verify", "-q", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
        tags["mlflow.source.git.commit"] = done.stdout.strip()
    return tags


@contextmanager
def patience(tracking_uri: str) -> Iterator[None]:
    """Shorten MLflow's retries for servers and databases that do not answer, unless the user has set them.

    MLflow's own tracebacks of errors that it also raises are suppressed.
    """
    database: Any = None
    if not tracking_uri.startswith("http"):
        from mlflow.store.db import utils as database
    tries = getattr(database, "MAX_RETRY_COUNT", None)
    ours = {name: value for name, value in _PATIENCE.items() if name not in os.environ}
    levels = {name: logging.getLogger(name).level for name in _LOUD}
    os.environ.update(ours)
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if tries is not None:
        database.MAX_RETRY_COUNT = _TRIES
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if tries is not None:
            database.MAX_RETRY_COUNT = tries


@contextmanager
def turn(tracking_uri: str, *, wait_s: float) -> Iterator[None]:
    """Hold the lock beside a SQLite store, once the store can be written. Other stores have their own locks.

    Parameters
    ----------
    wait_s
        Seconds to wait for other processes that hold this lock or SQLite's own.

    Raises
    ------
    StorageError
        When the store is not released in time, is not a SQLite database, or the disk cannot be written to.
    """
    store = _database(tracking_uri)
    if store is None:
        yield
        return
    path, deadline = store.with_name(f"{store.name}.lock"), time.monotonic() + wait_s
    lock = FileLock(path)
    with storing(store.parent):
        store.parent.mkdir(parents=True, exist_ok=True)
        _wait(lambda: _locked(lock), lambda: _holder(path), store, deadline)
    try:
        if not isinstance(lock, SoftFileLock):  # without flock, the library writes its own text into the file
            with suppress(OSError):  # on a full disk, the message to a waiting process lacks the holder
                path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        require_database(tracking_uri)
        _wait(lambda: _writable(store), lambda: "another process (the lock is SQLite's own)", store, deadline)
        yield
    finally:
        lock.release()


def require_database(tracking_uri: str) -> None:
    """Check that a file is a SQLite database. MLflow would need two minutes to find that it is not.

    Raises
    ------
    StorageError
        When the file is not a SQLite database.
    """
    store = _database(tracking_uri)
    if store is None or not store.exists():
        return
    try:
        begin = read_regular(store, len(_SQLITE_HEADER), whole=False)
    except OSError as error:
        raise StorageError(f"{store} cannot be read ({error.strerror})", "give another tracking.uri") from None
    if begin and begin != _SQLITE_HEADER:
        raise StorageError(f"{store} is not an SQLite database", "move it away, or give another tracking.uri")


def _wait(done: Callable[[], bool], holder: Callable[[], str], store: Path, deadline: float) -> None:
    """Wait until `done`, and log which process holds the store and the limit of the wait."""
    began, logged = time.monotonic(), False
    while not done():
        now = time.monotonic()
        if now > deadline:
            raise StorageError(f"{store} is held by {holder()}", "stop that process or let it continue")
        if not logged and now - began > _SILENCE_S:
            logged = True
            log.warning("%s is held by %s: waiting for at most %.0f s", store, holder(), deadline - began)
        time.sleep(_POLL_S)


def _locked(lock: BaseFileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


def _holder(path: Path) -> str:
    """The process that holds the lock, as it wrote into the lock file."""
    with suppress(OSError, UnicodeDecodeError):
        text = " ".join(read_regular(path, _HOLDER_BYTES).decode().split())
        if text.isprintable() and text:
            return text
    return "another process"


def _writable(store: Path) -> bool:
    """Whether SQLite grants the write lock; False while another process has it."""
    if not store.exists():
        return True
    try:
        with closing(sqlite3.connect(store, timeout=0, isolation_level=None)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return False
        raise StorageError(
            f"{store} cannot be written to ({error})", "move it away or repair it, or give another tracking.uri"
        ) from None
    return True


def valid_params(values: Mapping[str, Any]) -> dict[str, str]:
    """Names and values that MLflow accepts: other characters become `_`, and long values are truncated.

    >>> valid_params({"heads@[4,8]": 4})
    {'heads_4_8': '4'}
    """
    valid: dict[str, str] = {}
    for name, value in values.items():
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
