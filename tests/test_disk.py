"""Messages for a disk that refuses a file: the reason, and the remedy for that reason."""

import errno
import os
from pathlib import Path

import pytest

from massact.disk import file_target, read_regular, refused, replacing, write_text
from massact.errors import StorageError
from tests.users import unprivileged


def message(number: int, needed: int = 4773, name: str | None = None) -> str:
    error = OSError(number, os.strerror(number), name) if name else OSError(number, os.strerror(number))
    return str(refused(error, Path("/"), needed, "set paths.records to another folder"))


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOTDIR, errno.ENAMETOOLONG]
)
def test_free_space_is_mentioned_only_if_it_is_the_reason(number):
    assert "free" not in message(number)
    assert "set paths.records to another folder" in message(number)


def test_each_reason_has_its_own_remedy():
    assert "chmod" in message(errno.EACCES)
    assert "read-only: mount" in message(errno.EROFS)
    assert "quota" in message(errno.EDQUOT) and "4773 bytes needed" in message(errno.EDQUOT)
    assert "free space there" in message(errno.ENOSPC) and "4773 bytes needed" in message(errno.ENOSPC)
    assert "ulimit -f" in message(errno.EFBIG)
    assert "move away what is in its place" in message(errno.EISDIR, name="/a/b") and "/a/b" in message(
        errno.EISDIR, name="/a/b"
    )


def test_a_folder_without_permission_is_reported_as_that(tmp_path):
    for above in (tmp_path, *tmp_path.parents[:2]):
        above.chmod(0o755)
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o500)
    with unprivileged(), pytest.raises(StorageError, match=r"Permission denied\); get permission"):
        write_text(folder / "a.json", "{}")


def test_a_place_that_takes_no_files_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Not a directory"):
        file_target(tmp_path / "file" / "below" / "a.json")
    assert file_target(tmp_path / "later" / "a.json") == tmp_path / "later" / "a.json"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failure_while_writing_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="half"), replacing(path) as partial:
        partial.write_text("new")
        raise ValueError("half")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"] and path.read_text() == "old"


def test_only_regular_files_of_sensible_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", 5) == b"12345"
    assert read_regular(tmp_path / "file", 4, whole=False) == b"1234"
    for path, limit in ((tmp_path / "file", 4), (tmp_path / "pipe", 4), (tmp_path, 4), (tmp_path / "none", 4)):
        with pytest.raises(OSError):
            read_regular(path, limit)
