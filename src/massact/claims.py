"""Claims: files that reserve a piece of work for one of several processes, until that process ends.

A claim names its process: host, number, start time, and on a second line its command. A live process renews the times
of its claims twice a minute. A claim of this host is valid while its process lives. A claim of another host or
container is judged by its time only. A claim without a process is taken over after a few seconds.

Claims serve network folders that several hosts share, which is why they are not locks of the filelock library. Locks of
the operating system are unreliable there, and a lock file of another host that has died would never expire.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from massact.disk import read_regular, refused

BEAT_S = 30.0
STALE_S = 300.0
# Writing a claim takes milliseconds: one that names no process after this time is incomplete.
_WRITTEN_S = 10.0
_LIMIT_BYTES = 4096

_held: set[Path] = set()
_beating = threading.Lock()


class Holder(NamedTuple):
    """The process of a claim. `pid` is 0 if the claim names none. `age` is in seconds since the last renewal."""

    host: str
    pid: int
    born: str
    command: str
    age: float

    def __str__(self) -> str:
        if not self.pid:
            return f"a claim that names no process, {self.age:.0f} s old"
        command = f" ({self.command})" if self.command else ""
        return f"process {self.pid} on host {self.host}{command}, which renewed its claim {max(self.age, 0):.0f} s ago"


def take(path: Path) -> bool:
    """Take the claim, unless a live process holds it. The claim of a dead process is taken over.

    Its time is renewed while this process lives and the file exists.

    Raises
    ------
    OSError
        When the disk cannot be written to, or the path is not a file.
    """
    while not _make(path):
        if not abandoned(path):
            return False
        _steal(path)
    _renew(path)
    return True


def release(path: Path) -> None:
    """Release the claim if this process holds it. If the file cannot be deleted, the claim becomes stale."""
    _held.discard(path)
    with suppress(OSError):
        if _mine(path):
            path.unlink(missing_ok=True)


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold the claim during the context. Yields False if another process holds it.

    Raises
    ------
    StorageError
        When the disk cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ours = take(path)
    except OSError as error:
        raise refused(error, path.parent, 0, "write elsewhere") from None
    try:
        yield ours
    finally:
        if ours:
            release(path)


def elsewhere(path: Path) -> bool:
    """Whether another live process holds the claim."""
    return path.is_file() and not abandoned(path) and not _mine(path)


def holder(path: Path) -> Holder | None:
    """The process that a claim names; None if there is no claim.

    Raises
    ------
    OSError
        When it cannot be read or is not a regular file.
    """
    try:
        text = read_regular(path, _LIMIT_BYTES, whole=False).decode("utf-8", "replace")
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        if path.is_symlink():
            raise FileExistsError(errno.EEXIST, "a broken link", str(path)) from None
        return None
    line, _, command = text.partition("\n")
    host, pid, born = (*line.split(" "), "", "", "")[:3]
    number = int(pid) if pid.isascii() and pid.isdigit() and len(pid) < 10 else 0
    return Holder(host, number, born, " ".join(command.split()), age)


def abandoned(path: Path) -> bool:
    """Whether the claim's process is dead (on this host) or has not renewed the claim for minutes (elsewhere)."""
    process = holder(path)
    if process is None:
        return False
    if not process.pid:
        return _older(path, _WRITTEN_S)
    boot, start, space = (*process.born.split("/"), "", "", "")[:3]
    if process.host != socket.gethostname() or (space and space != _space()):
        return _older(path, STALE_S)
    try:
        os.kill(process.pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    if not boot:  # the process cannot be distinguished from a later one with its number
        return _older(path, STALE_S)
    return _born(process.pid).split("/")[:2] != [boot, start]  # another process has this number now


def _older(path: Path, seconds: float) -> bool:
    """Whether a claim was last renewed more than `seconds` ago, by the clock of its file system.

    A time in the future counts as one in the past: no process renewed the claim at that time.
    """
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".now.") as file:
            now = os.fstat(file.fileno()).st_mtime
    except OSError:
        now = time.time()
    try:
        return abs(now - path.stat().st_mtime) > seconds
    except FileNotFoundError:
        return False


def _make(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(_me())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _renew(path: Path) -> None:
    """Start renewing the claim's time. One thread of this process does so for all its claims."""
    _held.add(path)
    if _beating.acquire(blocking=False):
        threading.Thread(target=_beat, name="massact claims", daemon=True).start()


def _beat() -> None:
    while True:
        time.sleep(BEAT_S)
        for path in list(_held):
            try:
                if _mine(path):
                    os.utime(path)
                    continue
            except OSError:
                if path.exists():  # the file system is temporarily unavailable
                    continue
            _held.discard(path)


def _forked() -> None:
    """A forked child has neither its parent's claims nor its thread."""
    global _beating
    _held.clear()
    _beating = threading.Lock()


os.register_at_fork(after_in_child=_forked)


def _mine(path: Path) -> bool:
    with suppress(OSError):
        return read_regular(path, _LIMIT_BYTES, whole=False).partition(b"\n")[0] == _me().partition("\n")[0].encode()
    return False


def _me() -> str:
    return _named(os.getpid())


@cache
def _named(own_pid: int) -> str:
    """The text of this process's claims. A forked child has another number, and so another text."""
    command = "\t".join(" ".join(sys.orig_argv).split())[:200]
    return f"{socket.gethostname()} {own_pid} {_born(own_pid)}\n{command}"


def _born(pid: int) -> str:
    """The boot of the machine, the start time of a process and its name space, because process ids are reused.

    Empty on systems other than Linux.
    """
    with suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return f"{boot}/{after_name[19]}/{_space()}"
    return ""


@cache
def _space() -> str:
    """The pid name space of this process. Containers with the same host name may have different ones."""
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def _steal(path: Path) -> None:
    """Remove an abandoned claim, without removing a new claim that another process made in the meantime."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.stale")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if not abandoned(aside):  # another process was faster: this is its claim
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)
