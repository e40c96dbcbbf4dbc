"""Unreadable inputs of stages: one typed line each, never an exception of a library."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from massact.errors import MassactError, MissingInputError, ParseError
from massact.params import load_params
from massact.predict.schemas import SCORES
from massact.stages.swept import read_csv, training_log
from massact.train import read_works
from tests.users import unprivileged

READERS = {
    "scores.csv": lambda path: read_csv(path, SCORES),
    "training.json": training_log,
    "params.yaml": load_params,
    "text.gz": read_works,
}


def refused(name: str, path: Path) -> MassactError:
    with pytest.raises(MassactError) as caught:
        READERS[name](path)
    assert str(path) in caught.value.what
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", READERS)
def test_an_unreadable_file_is_one_line(name, tmp_path):
    path = tmp_path / name
    assert "does not exist" in refused(name, path).what
    path.mkdir()
    assert "cannot be read (Is a directory)" in refused(name, path).what
    path.rmdir()
    os.mkfifo(path)
    assert "cannot be read (not a regular file)" in refused(name, path).what
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "cannot be read (not a regular file)" in refused(name, path).what


@pytest.mark.parametrize("name", READERS)
def test_without_permission_it_is_one_line(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"x")
    path.chmod(0)
    with unprivileged():
        assert "cannot be read (Permission denied)" in refused(name, path).what


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'"a\n1,2,3\n', b"5", b"[" * 100_000, b"a,b\n1,2,3,4\n1\n"])
def test_garbage_is_one_line(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    refused(name, path)


def test_kinds_are_told_apart(tmp_path):
    with pytest.raises(MissingInputError):
        training_log(tmp_path / "training.json")
    (tmp_path / "training.json").write_text("[]")
    with pytest.raises(ParseError, match="is not the log of a training"):
        training_log(tmp_path / "training.json")
