"""Messages for shipped data that cannot be fetched."""

from __future__ import annotations

import json
from hashlib import md5
from pathlib import Path

import pytest

from massact.stages.pulled import diagnosis, main


@pytest.fixture
def project(tmp_path) -> tuple[Path, dict[str, Path]]:
    """A project whose lock names a folder of two files and one file, and a whole store."""
    store, objects = tmp_path / "data/store/files/md5", {}
    (tmp_path / ".git").mkdir()

    def keep(name: str, content: bytes, ending: str = "") -> str:
        md5_name = md5(content).hexdigest() + ending
        path = store / md5_name[:2] / md5_name[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        objects[name] = path
        return md5_name

    listed = [{"md5": keep(name, name.encode()), "relpath": name} for name in ("a", "b")]
    outs = [
        {"path": "data/f/folder", "md5": keep("folder", json.dumps(listed).encode(), ".dir")},
        {"path": "data/f/table", "md5": keep("table", b"numbers")},
    ]
    (tmp_path / "data/f").mkdir()
    (tmp_path / "data/f/dvc.lock").write_text(json.dumps({"stages": {"train": {"outs": outs}}}))
    return tmp_path, objects


def test_an_intact_store_is_reported_as_intact(project):
    assert diagnosis(project[0]) == ["all 4 objects in data/store are intact; see the cause with: dvc pull -v -R data"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("b", b"c", "data/f/folder/b: it is damaged"),
        (
            "table",
            b"version https://git-lfs.github.com/spec/v1\n",
            "data/f/table: it is a Git LFS pointer",
        ),
        ("folder", b"[]", "data/f/folder: it is damaged"),
        ("a", None, "data/f/folder/a: it is missing"),
    ],
)
def test_what_is_wrong_is_named_with_the_command(project, name, content, words):
    root, objects = project
    if content is None:
        objects[name].unlink()
    else:
        objects[name].write_bytes(content)
    lines = diagnosis(root)
    assert words in lines[0]
    assert str(objects[name].relative_to(root)) in lines[0]
    assert lines[-1] == "restore them with: git checkout -- data/store && dvc pull -R data"


def test_what_is_missing_from_an_archive_is_named_with_a_command_that_needs_no_git(project):
    root, objects = project
    (root / ".git").rmdir()
    objects["a"].unlink()
    lines = diagnosis(root)
    assert "data/f/folder/a: it is missing" in lines[0]
    assert lines[-1].endswith("copy data/store again from the archive or from a git clone; then: sh tools/pull.sh")
    assert "git checkout" not in lines[-1]


def test_a_lock_that_cannot_be_read_is_one_line(project, monkeypatch, capsys):
    root, _ = project
    lock = root / "data/f/dvc.lock"
    lock.write_text("<<<<<<< HEAD\nstages: [\n")
    monkeypatch.chdir(root)
    assert main(["--diagnose"]) == 1
    message = capsys.readouterr().err
    assert "data/f/dvc.lock cannot be read" in message
    assert "git checkout -- data/f/dvc.lock" in message
    assert message.count("\n") == 1


def test_a_missing_store_is_reported(tmp_path):
    assert "data/store, the DVC remote with the shipped data, is missing" in diagnosis(tmp_path)[0]
