"""Files that a stage reads are checked against the hashes that DVC recorded."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from hashlib import md5
from pathlib import Path

import pytest

from massact.checkpoints.source import CheckpointStatus, SourceError
from massact.compose.sources import TrackedFolder
from massact.errors import MissingInputError
from massact.stages.swept import read_csv
from massact.tables import Column, Schema
from massact.tracked import CACHE, file_md5, listing, object_place, recorded, warn_unless_recorded

NUMBERS = Schema("numbers", {"x": Column("int64", "a number")}, ("x",))


def dvc(*words: str) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["dvc", *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def shipped(weights, tmp_path_factory) -> Path:
    """A DVC project with a family of two checkpoints and a CSV, recorded by DVC itself."""
    root = tmp_path_factory.mktemp("tracked") / "project"
    folder = root / "data/pocket/tiny-seed0"
    for name in ("step0", "step2"):
        shutil.copytree(weights[name], folder / name)
    (folder / "training.json").write_text("{}")
    (root / "results").mkdir()
    (root / "results/scores.csv").write_text("x\n1\n")
    family = "stages: {train: {wdir: ../.., cmd: 'true', outs: [data/pocket/tiny-seed0]}}"
    (root / "data/pocket/dvc.yaml").write_text(family)
    (root / "dvc.yaml").write_text("stages: {predict: {cmd: 'true', outs: [results/scores.csv]}}")
    before = Path.cwd()
    os.chdir(root)
    try:
        dvc("init", "-q", "--no-scm")
        dvc("commit", "-q", "-f", "dvc.yaml", "data/pocket/dvc.yaml")
    finally:
        os.chdir(before)
    return root


@pytest.fixture
def project(shipped, tmp_path, monkeypatch) -> Path:
    shutil.copytree(shipped, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return Path("data/pocket/tiny-seed0")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_checkpoint_as_recorded_is_identified(project):
    stated = recorded(project)
    assert stated is not None
    assert stated.lock == Path("data/pocket/dvc.lock")
    assert stated.differing() == []
    assert TrackedFolder(stated).identify(0).step == 0


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_flipped_bit_is_that_checkpoint_s_status_and_the_others_go_on(project, name):
    flip(project / "step2" / name)
    stated = recorded(project)
    assert stated is not None
    source = TrackedFolder(stated)
    assert source.identify(0).step == 0
    with pytest.raises(SourceError) as caught:
        source.identify(2)
    assert caught.value.status == CheckpointStatus.CORRUPT
    path = project / "step2" / name
    assert str(caught.value) == (
        f"{path} is not the file that data/pocket/dvc.lock records; "
        f"restore it with: rm {path} && dvc pull {project}; "
        "or, if you created it, keep it with: dvc commit -f data/pocket/dvc.yaml"
    )


def test_the_commands_of_the_message_repair_the_file(project):
    """Either way: the recorded content comes back out of DVC's cache, or what is here is recorded."""
    path = project / "step2/model.safetensors"
    flip(path)
    new_md5 = file_md5(path)
    dvc("commit", "-q", "-f", "data/pocket/dvc.yaml")
    stated = recorded(project)
    assert stated is not None
    assert stated.md5s["step2/model.safetensors"] == new_md5
    flip(path)
    assert stated.differing("step2") == [path]
    path.unlink()
    dvc("checkout", "-q", str(project))
    assert stated.differing() == []


def test_a_changed_csv_and_training_log_give_a_warning(project, caplog):
    with caplog.at_level(logging.WARNING, "massact"):
        assert read_csv(Path("results/scores.csv"), NUMBERS)["x"].tolist() == [1]
        warn_unless_recorded(project / "training.json", project)
    assert caplog.records == []
    Path("results/scores.csv").write_text("x\n2\n")
    (project / "training.json").write_text('{"log": []}')
    with caplog.at_level(logging.WARNING, "massact"):
        read_csv(Path("results/scores.csv"), NUMBERS)
        warn_unless_recorded(project / "training.json", project)
    messages = [record.getMessage() for record in caplog.records]
    assert [line.partition(";")[0] for line in messages] == [
        "results/scores.csv is not the file that dvc.lock records",
        f"{project / 'training.json'} is not the file that data/pocket/dvc.lock records",
    ]


def test_files_that_no_lock_names_are_not_checked(project, tmp_path):
    shutil.copytree(project, "data/pocket/mine-seed0")
    assert recorded(Path("data/pocket/mine-seed0")) is None
    shutil.copytree(project, tmp_path / "elsewhere")
    assert recorded(tmp_path / "elsewhere") is None
    Path("data/pocket/dvc.lock").unlink()
    assert recorded(project) is None


def test_a_damaged_list_is_not_used(project, caplog):
    stated = recorded(project)
    assert stated is not None
    entries = json.loads(json.dumps([{"md5": h, "relpath": n} for n, h in sorted(stated.md5s.items())]))
    name = md5(json.dumps(entries).encode()).hexdigest() + ".dir"
    assert listing(Path(), name) == dict(stated.md5s)
    flip(CACHE / object_place(name))
    assert listing(Path(), name) is None
    with caplog.at_level(logging.WARNING, "massact"):
        assert recorded(project) is None
    assert "is not held to data/pocket/dvc.lock" in caplog.text


@pytest.mark.parametrize("text", ["<<<<<<< HEAD\n", "stages: {train: {outs: [{path: a}]}}", "[]", "\xff"])
def test_a_lock_that_cannot_be_read_is_one_line(project, text):
    Path("data/pocket/dvc.lock").write_text(text, encoding="latin-1")
    with pytest.raises(MissingInputError, match=r"dvc\.lock cannot be read") as caught:
        recorded(project)
    assert "\n" not in str(caught.value)
