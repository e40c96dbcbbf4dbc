"""How jobs end: unexpected errors, signals, full disks, and the summary of a sweep."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from massact.stages import job
from massact.stages.job import JobStatus, report_statuses
from tests.corpora import small_corpus
from tests.locales import ASCII_LOCALE

ROOT = Path(__file__).parents[2]


def command(folder: Path, *words: str) -> list[str]:
    jobs = ["-m"] if "-m" in words else []
    where = f"hydra.sweep.dir={folder}/sweep" if jobs else f"hydra.run.dir={folder}/job"
    rest = [word for word in words if word != "-m"]
    return [sys.executable, "run.py", *jobs, where, f"paths.fits={folder}/fits", f"paths.runs={folder}/runs", *rest]


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_an_unexpected_error_is_one_line_and_stops_no_other_job(tmp_path, launcher):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/pyarrow.py").write_text("raise ImportError('no kernel for this processor')\n")
    path = os.pathsep.join([str(tmp_path / "broken"), os.environ.get("PYTHONPATH", "")])
    words = command(tmp_path, "-m", "stage=fit_suite", "fit=log,eq9", f"hydra/launcher={launcher}")
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 3, output
    assert "Traceback" not in output
    assert "0 of 2 jobs done" in output
    assert "ImportError: no kernel for this processor; unexpected error" in output
    for number in (0, 1):
        assert "pyarrow.py" in (tmp_path / f"sweep/{number}/traceback.txt").read_text(encoding="utf-8")


def test_statuses_of_earlier_runs_do_not_count_and_silent_jobs_do(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(job, "_worst_exit_code", 0)
    monkeypatch.setattr(job, "_expected", 0)
    monkeypatch.setattr(job, "_began", 0)
    folders = [tmp_path / str(number) for number in range(3)]
    old = JobStatus("fit", "old", 2, "of yesterday", "none", began=time.time_ns())
    job.begin(3)
    new = JobStatus("fit", "new", 0, began=time.time_ns())
    for folder, status in zip(folders, [old, new, new], strict=True):
        job._write(status, folder)
    with caplog.at_level("INFO", logger="massact"):
        report_statuses(folders)
    assert "of yesterday" not in caplog.text
    assert "1 of 3 jobs left no status" in caplog.text
    assert "2 of 3 jobs done" in caplog.text
    assert job.exit_code() == 3


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_one_line_and_releases_claims(tmp_path, number, status):
    places = (f"paths.{name}={tmp_path}/{name}" for name in ("trajectories", "records"))
    words = command(tmp_path, "stage=suite", f"probe.corpus={small_corpus(tmp_path)}", *places)
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("runs/suite/*/run.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert list(tmp_path.glob("runs/suite/*/.claim"))
    process.send_signal(number)
    output = process.communicate(timeout=120)[1]
    assert process.returncode == status, output
    assert "Traceback" not in output
    assert [line for line in output.splitlines() if "the same command continues from there" in line]
    assert not list(tmp_path.glob("runs/suite/*/.claim"))
    assert json.loads((tmp_path / "job/status.json").read_text())["state"] == "interrupted"


def test_a_full_disk_under_hydra_s_folder_is_one_line(tmp_path):
    done = subprocess.run(
        command(tmp_path, "stage=fit", "model=pocket-a"),
        cwd=ROOT,
        env={**os.environ, **ASCII_LOCALE},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("massact:") == 1
    assert "File too large" in done.stderr


def test_outside_of_a_project_the_folder_to_run_from_is_named(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "stage=report"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "run from the project's folder: cd " in done.stderr
    assert str(ROOT) in done.stderr.replace("'", "")
    assert list(tmp_path.iterdir()) == []


def test_hydra_s_shell_completion_is_let_through():
    def asked(word: str, **more: str) -> str:
        command = [sys.executable, "run.py", "-sc", f"{word}=bash"]
        env = {**os.environ, **more}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "complete -o nospace" in asked("install")
    assert "model=pocket-a" in asked("query", COMP_LINE="python run.py model=pocket-").split()
