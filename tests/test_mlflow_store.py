"""MLflow's store against real databases, locks, processes and servers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from massact import mlflow_store
from massact.errors import ConfigError, MassactError, StorageError
from massact.mlflow_store import KIND, opened, source_tags
from massact.stages.track import logging_to
from tests.stores import broken_store

_HOLD = """
import sys, time
from massact.mlflow_store import turn
with turn(sys.argv[1], wait_s=5):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A store with an experiment, to be copied: making one takes seconds."""
    store = tmp_path_factory.mktemp("whole") / "mlflow.db"
    with opened(uri_of(store), "e", wait_s=5.0):
        pass
    return store


def uri_of(store: Path) -> str:
    return f"sqlite:///{store}"


def error_of(uri: str, wait_s: float = 0.5) -> MassactError:
    """The one line of a store that fails."""
    with (
        pytest.raises(MassactError) as caught,
        logging_to(uri, "the tables are kept", "python run.py stage=track"),
        opened(uri, "e", wait_s=wait_s) as (client, home),
    ):
        client.create_run(home)
    error = caught.value
    assert "\n" not in str(error)
    assert "the tables are kept; log them later: python run.py stage=track" in error.remedy
    return error


@pytest.fixture
def holder(tmp_path) -> Iterator[subprocess.Popen[str]]:
    """A stopped process that holds the store of `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, uri_of(tmp_path / "mlflow.db")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    os.kill(process.pid, signal.SIGSTOP)
    yield process
    process.kill()
    process.communicate()


def test_a_lock_of_a_stopped_process_is_waited_for_with_a_message_and_a_limit(tmp_path, holder, caplog, monkeypatch):
    monkeypatch.setattr(mlflow_store, "_SILENCE_S", 0.2)
    began = time.monotonic()
    error = error_of(uri_of(tmp_path / "mlflow.db"), wait_s=1.0)
    assert 1.0 <= time.monotonic() - began < 30.0
    name = f"process {holder.pid} on {socket.gethostname()}"
    assert error.what == f"{tmp_path}/mlflow.db is held by {name}"
    assert error.exit_code == 3
    assert caplog.text.count(f"is held by {name}: waiting for at most 1 s") == 1
    holder.kill()
    holder.wait()
    with opened(uri_of(tmp_path / "mlflow.db"), "e", wait_s=5.0):
        pass


def test_a_lock_of_sqlite_itself_is_waited_for(tmp_path, whole):
    store = Path(shutil.copy(whole, tmp_path))
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        error = error_of(uri_of(store))
    assert time.monotonic() - began < 10.0
    assert "is held by another process" in error.what
    assert error.exit_code == 3
    with opened(uri_of(store), "e", wait_s=5.0):
        pass


@pytest.mark.parametrize(
    ("kind", "word"),
    [("garbage", "not an SQLite database"), ("a folder", "Is a directory"), ("truncated", "mlflow.db"),
     ("under a file", "cannot be written to"), ("a pipe", "not a regular file")],
)  # fmt: skip
def test_a_store_that_is_no_database_is_one_line_at_once(tmp_path, whole, kind, word, caplog):
    store = broken_store(tmp_path, kind, whole)
    began = time.monotonic()
    error = error_of(uri_of(store))
    assert time.monotonic() - began < 30.0
    assert word in error.what
    assert error.exit_code == 3
    assert "Traceback" not in caplog.text


def test_a_deleted_experiment_is_named_with_the_command_that_restores_it(tmp_path, whole):
    store = Path(shutil.copy(whole, tmp_path))
    client = MlflowClient(uri_of(store))
    number = client.get_experiment_by_name("e").experiment_id
    client.delete_experiment(number)
    error = error_of(uri_of(store))
    assert f"mlflow experiments restore --experiment-id {number}" in error.remedy
    assert error.exit_code == 3
    client.restore_experiment(number)
    with opened(uri_of(store), "e", wait_s=5.0) as (_, home):
        assert home == number


@pytest.mark.parametrize("uri", ["mysql+nodriver://u@127.0.0.1/x", "postgresql://u@127.0.0.1:9/x"])
def test_a_database_without_a_driver_is_one_line(uri):
    assert error_of(uri).exit_code == 3


@pytest.mark.parametrize("hangs", [False, True], ids=["refuses", "hangs"])
def test_a_server_that_refuses_or_hangs_is_one_line(hangs, monkeypatch):
    monkeypatch.setitem(mlflow_store._PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if hangs:
            server.listen()
        began = time.monotonic()
        error = error_of(f"http://127.0.0.1:{server.getsockname()[1]}")
    assert time.monotonic() - began < 60.0
    assert error.exit_code == 3


def test_a_store_that_cannot_be_stays_a_fault_of_the_configuration():
    assert isinstance(error_of("nonsense://x"), ConfigError)


def test_an_experiment_is_marked_as_training_and_a_user_s_mark_stays(tmp_path, whole):
    store = Path(shutil.copy(whole, tmp_path))
    client = MlflowClient(uri_of(store))
    assert client.get_experiment_by_name("e").tags[KIND] == "custom_model_development"
    for before, after in ((None, "custom_model_development"), ("genai_development", "genai_development")):
        number = client.create_experiment(after, tags={KIND: before} if before else {})
        with opened(uri_of(store), after, wait_s=5.0):
            pass
        assert client.get_experiment(number).tags[KIND] == after


def test_outside_of_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "mlflow.source.git.commit" not in source_tags()
    monkeypatch.setenv("PATH", "")
    assert source_tags()["mlflow.source.type"] == "LOCAL"


@pytest.mark.parametrize("limit", [3_000, 200_000])
def test_a_full_disk_under_the_store_is_one_line(tmp_path, limit):
    code = (
        "import resource, sys\n"
        "from massact.errors import StorageError\n"
        "from massact.mlflow_runs import Run, log_runs\n"
        "from massact.stages.track import logging_to\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try:\n"
        "    with logging_to(sys.argv[1], 'the tables are kept', 'again'):\n"
        "        log_runs([Run({'a': 'b'}, 'a')], tracking_uri=sys.argv[1], experiment='e')\n"
        "except StorageError as error:\n"
        "    sys.exit(str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, uri_of(tmp_path / "mlflow.db")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "the tables are kept; log them later: again" in done.stderr


def test_a_full_disk_under_a_run_s_files_is_one_line(tmp_path, whole):
    store = Path(shutil.copy(whole, tmp_path))
    (tmp_path / "mlruns").write_text("in the way")
    from massact.mlflow_runs import Run, log_runs

    run = Run({"a": "b"}, "a", files={"a.txt": "a"})
    with pytest.raises(StorageError, match="kept; log them later: again"), logging_to(uri_of(store), "kept", "again"):
        log_runs([run], tracking_uri=uri_of(store), experiment="moved")
    (tmp_path / "mlruns").unlink()
    log_runs([run], tracking_uri=uri_of(store), experiment="moved")
    client = MlflowClient(uri_of(store))
    (logged,) = client.search_runs([client.get_experiment_by_name("moved").experiment_id])
    assert logged.info.status == "FINISHED"
    assert [file.path for file in client.list_artifacts(logged.info.run_id)] == ["a.txt"]
