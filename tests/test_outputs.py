"""Replacing folders and files: no foreign file is removed, and no crash leaves a partial result."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from massact.disk import file_target, write_text
from massact.errors import OutputError, StorageError
from massact.outputs import files_in, replace_folder, replaceable


def stranger(folder: Path) -> str:
    foreign = [name for name in files_in(folder) if name not in ("mark", "a/data")]
    return "" if (folder / "mark").is_file() and not foreign else f"holds {foreign}"


@pytest.fixture
def source(tmp_path) -> Path:
    (tmp_path / "source/a").mkdir(parents=True)
    (tmp_path / "source/mark").write_text("new")
    (tmp_path / "source/a/data").write_text("new")
    return tmp_path / "source"


def content(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in sorted(files_in(folder))}


def test_an_absent_an_empty_and_an_own_folder_are_replaced_whole(source, tmp_path):
    final = tmp_path / "final"
    replace_folder(source, final, stranger)
    assert content(final) == content(source)
    (final / "mark").write_text("old")
    replace_folder(source, final, stranger)
    assert content(final) == content(source)
    (tmp_path / "empty").mkdir()
    replace_folder(source, tmp_path / "empty", stranger)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "final", "source"]


@pytest.mark.parametrize("kind", ["foreign", "among", "empty below", "file", "link", "link below", "aside"])
def test_foreign_files_are_kept(source, tmp_path, kind):
    final = tmp_path / "final"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere/thesis.txt").write_text("mine")
        final.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        final.write_text("mine")
    else:
        replace_folder(source, final, stranger)
        if kind == "foreign":
            (final / "mark").unlink()
        elif kind == "among":
            (final / "a/thesis.txt").write_text("mine")
        elif kind == "empty below":
            (final / "b").mkdir()
        elif kind == "link below":
            (final / "b").symlink_to(tmp_path)
        else:
            (tmp_path / ".final.massact-old").mkdir()
            (tmp_path / ".final.massact-old/thesis.txt").write_text("mine")
    before = sorted(files_in(tmp_path))
    for attempt in (lambda: replaceable(final, stranger), lambda: replace_folder(source, final, stranger)):
        with pytest.raises(OutputError) as caught:
            attempt()
        assert "\n" not in str(caught.value)
        assert sorted(files_in(tmp_path)) == before


def killed(source: Path, final: Path, left: int) -> int:
    """Replace in a forked process that dies before a change of the disk; returns its exit status, 9 when it died."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    def counted(event: str, arguments: tuple) -> None:
        nonlocal left
        if event in ("os.rename", "open", "os.mkdir", "os.rmdir", "os.remove"):
            left -= 1
            if left < 0:
                os._exit(9)

    sys.addaudithook(counted)
    try:
        replace_folder(source, final, stranger)
    finally:
        os._exit(0)


def test_a_kill_at_any_moment_leaves_the_old_or_the_new(source, tmp_path):
    old = {"a/data": "old", "mark": "old"}
    seen, status = set(), 9
    for left in range(60):
        final = tmp_path / str(left) / "final"
        for name, text in old.items():
            (final / name).parent.mkdir(parents=True, exist_ok=True)
            (final / name).write_text(text)
        status = killed(source, final, left)
        replaceable(final, stranger)  # as the next run does before any work
        assert content(final) in (old, content(source))
        seen.add(content(final) == old)
        replace_folder(source, final, stranger)
        assert content(final) == content(source)
        assert [path.name for path in final.parent.iterdir()] == ["final"]
        if status == 0:
            break
    assert status == 0
    assert seen == {True, False}


def test_a_file_replaces_only_files_of_its_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/hostname")
    (tmp_path / "notes.csv").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "link", "pipe"):
        with pytest.raises(OutputError):
            write_text(tmp_path / name, "ours")
    with pytest.raises(OutputError, match="massact did not write"):
        file_target(tmp_path / "notes.csv", lambda head: head.startswith(b"model,"))
    assert (tmp_path / "notes.csv").read_text() == "mine"
    assert file_target(tmp_path / "new.csv", lambda head: False) == tmp_path / "new.csv"
    write_text(tmp_path / "below/new.csv", "ours")
    assert (tmp_path / "below/new.csv").read_text() == "ours"
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_text(tmp_path / "file/new.csv", "ours")
