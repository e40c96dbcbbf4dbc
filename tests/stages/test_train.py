"""stage=train on the command line: killed, continued, finished."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.corpora import small_corpus

ROOT = Path(__file__).parents[2]
NOWHERE = "http://127.0.0.1:9"
SMALL = [
    "stage=train",
    "model=pocket-d",
    "model.recipe.steps=40",
    "model.recipe.batch=4",
    "model.recipe.checkpoints=9",
    "model.architecture.d_model=16",
    "model.architecture.n_heads=2",
    "model.architecture.d_mlp=32",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return small_corpus(tmp_path_factory.mktemp("text"))


def words(folder: Path, corpus: Path) -> list[str]:
    return [*SMALL, f"probe.corpus={corpus}", f"model.folder={folder}/final", f"paths.runs={folder}/runs"]


def command(folder: Path, corpus: Path) -> list[str]:
    return [sys.executable, "run.py", f"hydra.run.dir={folder}/job", *words(folder, corpus)]


def test_a_killed_training_continues_and_ends_with_whole_checkpoints(tmp_path, corpus):
    first = subprocess.Popen(command(tmp_path, corpus), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "runs/nano/pocket-d-seed0/state.pt").is_file():
        assert time.monotonic() < deadline, "no state was written"
        assert first.poll() is None or first.returncode == 0
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    done = subprocess.run(command(tmp_path, corpus), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tokens/s" in done.stderr
    assert "loss" in done.stderr
    steps = sorted(int(p.name.removeprefix("step")) for p in (tmp_path / "final").glob("step*"))
    assert steps[0] == 0
    assert steps[-1] == 40
    assert all((tmp_path / "final" / f"step{s}" / "model.safetensors").is_file() for s in steps)
    assert (tmp_path / "final/training.json").is_file()


def test_a_foreign_folder_is_refused_before_any_work_and_keeps_its_files(tmp_path, corpus):
    folder = tmp_path / "final"
    folder.mkdir()
    (folder / "thesis.txt").write_text("folder")
    done = subprocess.run(command(tmp_path, corpus), cwd=ROOT, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 2, output
    assert output.count("\n") == 1
    assert f"massact: pocket-d: {folder} is not empty and has no training.json" in output
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    assert not (tmp_path / "runs").exists()


def test_an_own_folder_with_a_foreign_file_or_another_recipe_is_kept(tmp_path, corpus, stage):
    small = [word for word in words(tmp_path, corpus) if "steps" not in word] + ["model.recipe.steps=2"]
    assert stage(NOWHERE, *small).exit_code == 0
    assert stage(NOWHERE, *small).exit_code == 0
    (tmp_path / "final/step0/notes.txt").write_text("mine")
    done = stage(NOWHERE, *small)
    assert done.exit_code == 2
    assert "holds step0/notes.txt, which massact did not write" in done.error
    (tmp_path / "final/step0/notes.txt").unlink()
    done = stage(NOWHERE, *small, "model.recipe.batch=3")
    assert done.exit_code == 2
    assert "holds another model, seed, architecture or recipe" in done.error
