"""MLflow's store as massact uses it: runs found again by a key, one process at a time, no telemetry."""

from __future__ import annotations

import fcntl
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
from typing import IO, TYPE_CHECKING, Any

from massact.disk import read_regular, storing
from massact.errors import ConfigError, StorageError
from massact.names import slug

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("massact")
# The tag by which a run is found again: the hash of what it describes.
KEY = "massact.key"
# Where MLflow's pages read that an experiment is about models that are trained, and show its runs and not traces.
KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"
_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
_SQLITE = "sqlite:///"
_SQLITE_HEADER = b"SQLite format 3\0"
_POLL_S, _SILENCE_S = 0.1, 2.0
_HOLDER_BYTES = 200
# MLflow asks a server that does not answer for many minutes, and a database ten times, which takes two.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
_TRIES = 3
# These write the traceback of an error that is raised as well.
_LOUD = ("mlflow.store.db.utils", "mlflow.store.tracking.sqlalchemy_store", "alembic")
# MLflow takes up to 250 and 6,000 characters.
_LONGEST_NAME, _LONGEST_VALUE = 240, 6000


def key_of(content: Any) -> str:
    """Hash of what JSON can say, in any order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def opened(tracking_uri: str, experiment: str, *, wait_s: float) -> Iterator[tuple[MlflowClient, str]]:
    """A client and the id of the experiment, while no other process of massact writes to the store.

    Parameters
    ----------
    wait_s
        Seconds to wait for another process that holds the store.

    Raises
    ------
    ConfigError
        When MLflow knows no such store.
    StorageError
        When the store is held for too long, is no database, or the experiment was deleted. What a server, a driver or
        a database raises by itself comes through as it is.
    """
    with patience(tracking_uri), turn(tracking_uri, wait_s=wait_s):
        client = open_client(tracking_uri)
        yield client, experiment_id(client, experiment, tracking_uri)


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
        if re.split(r"[:+]", tracking_uri)[0] in _SCHEMES:
            raise  # there is such a store, which failed
        raise ConfigError(
            f"tracking.uri = {tracking_uri} ({error.message.strip().split('. ')[0]})",
            "e.g. sqlite:///mlflow.db, or tracking=none",
        ) from None


def experiment_id(client: MlflowClient, name: str, tracking_uri: str) -> str:
    """The experiment of this name, made if it is not there; beside a SQLite store lie its files, below `mlruns`.

    Raises
    ------
    StorageError
        When the experiment was deleted: MLflow keeps its name and takes no runs.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        store = _database(tracking_uri)
        where = None if store is None else (store.parent / "mlruns" / slug(name)).resolve().as_uri()
        return client.create_experiment(name, artifact_location=where, tags={KIND: TRAINING})
    if found.lifecycle_stage == "deleted":
        raise StorageError(
            f"the experiment {name} of {tracking_uri} was deleted",
            f"restore it with: MLFLOW_TRACKING_URI={tracking_uri} mlflow experiments restore "
            f"--experiment-id {found.experiment_id}, or give another tracking.experiment",
        )
    if KIND not in found.tags:  # whatever a user chose stays
        client.set_experiment_tag(found.experiment_id, KIND, TRAINING)
    return found.experiment_id


def source_tags() -> dict[str, str]:
    """MLflow's tags for the command that logs and for the commit of the folder it runs in, where that is known."""
    tags = {"mlflow.source.type": "LOCAL", "mlflow.source.name": Path(sys.argv[0]).name or "python"}
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["git", "rev-parse", "--verify", "-q", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
        tags["mlflow.source.git.commit"] = done.stdout.strip()
    return tags


@contextmanager
def patience(tracking_uri: str) -> Iterator[None]:
    """Little patience with servers and databases that do not answer; what the user has set counts.

    MLflow's own tracebacks of errors that it raises as well are not shown.
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
    """Hold the lock beside a SQLite store that can be written; other stores take care of themselves.

    Parameters
    ----------
    wait_s
        Seconds to wait for other processes, those that hold the lock and those that hold SQLite's own.

    Raises
    ------
    StorageError
        When the store was not given up in time, is no database of SQLite, or the disk refuses.
    """
    store = _database(tracking_uri)
    if store is None:
        yield
        return
    path, deadline = store.with_name(f"{store.name}.lock"), time.monotonic() + wait_s
    with storing(store.parent):
        store.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+")
    with lock:
        _wait(lambda: _locked(lock), lambda: _holder(path), store, deadline)
        with suppress(OSError):  # a full disk: the next process is told less
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {socket.gethostname()}")
            lock.flush()
        require_database(tracking_uri)
        _wait(lambda: _writable(store), lambda: "another process (the lock is SQLite's own)", store, deadline)
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


def _wait(done: Callable[[], bool], holder: Callable[[], str], store: Path, deadline: float) -> None:
    """Try until it is done; say who is waited for, and for how long at most."""
    began, told = time.monotonic(), False
    while not done():
        now = time.monotonic()
        if now > deadline:
            raise StorageError(f"{store} is held by {holder()}", "end that process or let it go on")
        if not told and now - began > _SILENCE_S:
            told = True
            log.warning("%s is held by %s: waiting for at most %.0f s", store, holder(), deadline - began)
        time.sleep(_POLL_S)


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(path: Path) -> str:
    """What the process that holds the lock wrote into it."""
    with suppress(OSError, UnicodeDecodeError):
        said = " ".join(read_regular(path, _HOLDER_BYTES).decode().split())
        if said.isprintable() and said:
            return said
    return "another process"


def _writable(store: Path) -> bool:
    """Whether SQLite gives the right to write; False while another process has it."""
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
            f"{store} cannot be written to ({error})", "move it away or mend it, or give another tracking.uri"
        ) from None
    return True


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
