"""Free disk space, atomic writes, and the messages for a disk that refuses a file."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from massact.errors import MissingInputError, OutputError, StorageError

# A file that massact wrote is recognised by its first bytes.
_HEAD_BYTES = 4096
_ELSEWHERE = "write elsewhere (paths.*, hydra.run.dir)"


def free_bytes(folder: Path) -> int:
    """Free space where a folder is or will be."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def refused(error: OSError, folder: Path, needed: int, otherwise: str) -> StorageError:
    """The error for a disk that does not take what must be written; `otherwise` is the remedy that always helps.

    No space, a quota, a limit on file sizes, missing permission, a read-only file system and a file in the way are
    told apart. Only where room matters does it say how much is needed and how much there is.
    """
    why, remedy = error.strerror or type(error).__name__, _REMEDIES.get(error.errno or 0, "")
    if error.errno in _ROOM and needed:
        with suppress(OSError):
            why = f"{why}; {needed} bytes needed, {free_bytes(folder)} free"
    elif error.errno in _IN_THE_WAY and error.filename is not None:
        why = f"{why}: {os.fsdecode(error.filename)}"
    advice = f"{remedy}, or {otherwise}" if remedy else otherwise
    return StorageError(f"{folder} cannot be written to ({why})", f"{advice}; finished work is kept")


_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_IN_THE_WAY = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL)
_REMEDIES = {
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "your quota there is used up: delete something or have it raised",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EACCES: "get permission to write there (chmod u+w)",
    errno.EPERM: "get permission to write there (chmod u+w, chattr -i)",
    errno.EROFS: "the file system is read-only: mount it writable",
    **dict.fromkeys(_IN_THE_WAY, "move away what is in its place"),
}


def read_regular(path: Path, limit: int, *, whole: bool = True) -> bytes:
    """The content of a regular file of at most `limit` bytes; a pipe or a device is never waited for.

    Parameters
    ----------
    whole
        False: of a larger file its first `limit` bytes.

    Raises
    ------
    OSError
        When there is no such file, it cannot be read, or it is too large or not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if whole and status.st_size > limit:
            raise OSError(errno.EINVAL, f"larger than {limit} bytes", str(path))
        left, parts = min(status.st_size, limit), []
        while left and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def input_bytes(path: Path, remedy: str, limit: int = 1_000_000_000) -> bytes:
    """The content of a file that a stage needs.

    Raises
    ------
    MissingInputError
        When it does not exist (`remedy` is the command that fetches it), may not be read, or is not a regular file
        of at most `limit` bytes.
    """
    try:
        return read_regular(path, limit)
    except FileNotFoundError:
        raise MissingInputError(f"{path} does not exist", remedy) from None
    except OSError as error:
        why = error.strerror or " ".join(str(error).split())
        raise MissingInputError(f"{path} cannot be read ({why})", "provide a file that this user can read") from None


def file_target(path: Path, ours: Callable[[bytes], bool] | None = None) -> Path:
    """The path of a file to write, after checking that it replaces no foreign file and its folder accepts files.

    Parameters
    ----------
    ours
        Whether the first 4,096 bytes of an existing file are of the kind that massact writes there; None: any file.

    Raises
    ------
    OutputError
        A folder, a device, a link out of the working folder, or a file of another kind.
    StorageError
        When its folder, or the one in which that will be created, accepts no files.
    """
    _takes_files(path.parent)
    if path.is_symlink() and not path.resolve().is_relative_to(Path.cwd()):
        raise _foreign(path, f"a link to {path.resolve()}")
    if not path.exists():
        return path
    if not path.is_file():
        raise _foreign(path, "a folder" if path.is_dir() else "not a regular file")
    if ours is not None and not ours(_head(path)):
        raise _foreign(path, "a file that massact did not write")
    return path


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write a text file atomically, and create its folder; `durable` waits until the disk has it.

    Raises
    ------
    OutputError
        As `file_target`.
    StorageError
        When the disk refuses.
    """
    write_bytes(path, text.encode("utf-8"), durable=durable)


def write_bytes(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file as `write_text` does."""
    file_target(path)
    with replacing(path, len(content)) as partial, partial.open("wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def replacing(path: Path, needed: int = 0, otherwise: str = _ELSEWHERE) -> Iterator[Path]:
    """A temporary path beside `path`, whose folder is created. Its content replaces `path` at the end.

    When the context ends in an exception, `path` is as before and the temporary file is gone.

    Parameters
    ----------
    needed
        Bytes to be written, for the message of a full disk.
    otherwise
        The remedy that always helps.

    Raises
    ------
    StorageError
        When the disk refuses.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise refused(error, path.parent, needed, otherwise) from None
    finally:
        with suppress(OSError):
            partial.unlink()


@contextmanager
def storing(folder: Path, needed: int = 0, otherwise: str = _ELSEWHERE) -> Iterator[None]:
    """What the disk refuses inside the context is a StorageError on this folder, with the remedy that always helps."""
    try:
        yield
    except OSError as error:
        raise refused(error, folder, needed, otherwise) from None


def _takes_files(folder: Path) -> None:
    """Check that a file can be created in a folder, or in its nearest existing parent. No file is left there."""
    with storing(folder):
        nearest = folder
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        with tempfile.TemporaryFile(dir=nearest):
            pass


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror})", "write elsewhere (paths.*)") from None


def _foreign(path: Path, what: str) -> OutputError:
    return OutputError(f"{path} is {what}", f"move it away or {_ELSEWHERE}")
