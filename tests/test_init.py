"""`massact init FOLDER`, and the pipeline of the project that it lays out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from massact.cli import main
from massact.errors import OutputError
from massact.init import lay_out, project_files
from massact.params import is_pipeline
from massact.preflight import preflight
from massact.shipped import CONF
from massact.tables import read_table
from massact.trajectories import RECORDS
from tests.runs import write_run

ROOT = Path(__file__).parents[1]


def shell(folder: Path, *command: str) -> str:
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_dvc_repro_in_a_new_project_measures_fits_and_reports(tmp_path, capsys):
    folder = tmp_path / "mein Prüfstand"
    assert main(["init", str(folder)]) == 0
    assert "git init && dvc init" in capsys.readouterr().out
    write_run(folder / "runs" / "own llama", steps=(0, 100))
    edit(folder / "params.yaml", "runs/my-model ", "runs/own llama ")
    edit(folder / "params.yaml", "forms: [eq9]", "forms: [log]")
    settings = folder / "conf/experiment/own.yaml"
    edit(settings, "sequences: 10", "sequences: 2")
    edit(settings, "length: null", "length: 16")
    edit(settings, "resamples: 200", "resamples: 0")
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        shell(folder, *command)
    said = shell(folder, "dvc", "repro")
    assert set(re.findall(r"Running stage '([^']+)'", said)) == {"measure", "fit@log", "report"}
    assert "my-model" in (folder / "data/report.html").read_text(encoding="utf-8")
    records = read_table(folder / "data/extracted/my-model-seed0.parquet", RECORDS)
    assert sorted(set(records["step"])) == [0, 100]
    assert set(records["probe_length"]) == {16}
    assert records["sequence"].nunique() == 2
    assert "Running stage" not in shell(folder, "dvc", "repro")
    untracked = shell(folder, "git", "status", "--porcelain", "--untracked-files=all")
    assert "checkpoint" not in untracked
    assert ".record" not in untracked


def test_a_folder_with_anything_else_is_refused(tmp_path, capsys):
    folder = tmp_path / "project"
    assert lay_out(folder) == list(project_files())
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert lay_out(folder) == []
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    (folder / "dvc.yaml").unlink()
    assert lay_out(folder) == ["dvc.yaml"]  # a killed one is completed
    edit(folder / "params.yaml", "my-model", "mine")
    with pytest.raises(OutputError, match=r"is not empty: it holds params\.yaml"):
        lay_out(folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("")
    assert main(["init", str(other)]) == 2
    said = capsys.readouterr().err
    assert "other is not empty: it holds notes.txt" in said
    assert said.count("\n") == 1
    assert [path.name for path in other.iterdir()] == ["notes.txt"]
    assert main(["init", str(other / "notes.txt")]) == 2


def test_its_params_are_not_those_of_the_pipeline(tmp_path):
    lay_out(tmp_path)
    assert not is_pipeline(tmp_path / "params.yaml")
    assert not is_pipeline(tmp_path / "none.yaml")
    assert is_pipeline(ROOT / "params.yaml")


def test_a_folder_of_ones_own_is_searched_before_massacts(tmp_path):
    own = tmp_path / "my cönf"
    (own / "probe").mkdir(parents=True)
    (own / "model").mkdir()
    text = (CONF / "probe/auto.yaml").read_text(encoding="utf-8")
    (own / "probe/auto.yaml").write_text(text.replace("sequences: 10", "sequences: 3"), encoding="utf-8")
    (own / "model/mine.yaml").write_text("defaults: [folder]\nname: mine\nfolder: runs\n", encoding="utf-8")
    (config,) = preflight(["model=mine"], CONF, multirun=False, own=own)
    assert (config.probe.sequences, config.model.name, config.fit.form) == (3, "mine", "eq9")
    shown = shell(tmp_path, "massact", "run", "--config-dir", str(own), "model=mine", "--cfg", "job")
    assert "sequences: 3" in shown
    assert "name: mine" in shown
    assert preflight(["model=pocket-a"], CONF, multirun=False)[0].probe.sequences == 10
