"""Claims: files by which one of several processes holds the right to make something, given up when it dies.

A claim names its process: host, number, when the process began, and on a second line its command. While a process
lives it renews the time of its claims twice a minute. A claim of this host is judged by whether its process lives,
one of another host or container by its time alone, and one that names no process is soon taken over.
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
# A claim is made and written within moments: one that names no process after so long was left half-written.
_WRITTEN_S = 10.0
_LIMIT_BYTES = 4096

_held: set[Path] = set()
_beating = threading.Lock()


class Holder(NamedTuple):
    """What a claim says of its process; `pid` is 0 where it names none. `age` is in seconds since it was renewed."""

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
    """Make the claim ours, unless a living process holds it; that of a dead process is taken over.

    Its time is renewed as long as this process lives and the file is there.

    Raises
    ------
    OSError
        When the disk refuses, or something that is no file stands in the claim's place.
    """
    while not _make(path):
        if not abandoned(path):
            return False
        _steal(path)
    _renew(path)
    return True


def release(path: Path) -> None:
    """Give the claim up, if it is this process's; a disk that refuses leaves it, and it grows stale."""
    _held.discard(path)
    with suppress(OSError):
        if _mine(path):
            path.unlink(missing_ok=True)


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold the claim while the context is open: True, or False when another process holds it.

    Raises
    ------
    StorageError
        When the disk refuses.
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
    """Whether another living process holds the claim."""
    return path.is_file() and not abandoned(path) and not _mine(path)


def holder(path: Path) -> Holder | None:
    """What the claim says of its process; None where there is no claim.

    Raises
    ------
    OSError
        When it cannot be read, or is no regular file.
    """
    try:
        said = read_regular(path, _LIMIT_BYTES, whole=False).decode("utf-8", "replace")
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        if path.is_symlink():
            raise FileExistsError(errno.EEXIST, "a link that leads nowhere", str(path)) from None
        return None
    line, _, command = said.partition("\n")
    host, pid, born = (*line.split(" "), "", "", "")[:3]
    number = int(pid) if pid.isascii() and pid.isdigit() and len(pid) < 10 else 0
    return Holder(host, number, born, " ".join(command.split()), age)


def abandoned(path: Path) -> bool:
    """Whether the claim's process is gone (on this host), or has not renewed it for minutes (elsewhere)."""
    found = holder(path)
    if found is None:
        return False
    if not found.pid:
        return _older(path, _WRITTEN_S)
    boot, start, space = (*found.born.split("/"), "", "", "")[:3]
    if found.host != socket.gethostname() or (space and space != _space()):
        return _older(path, STALE_S)
    try:
        os.kill(found.pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    if not boot:  # nothing tells the process from a later one of its number
        return _older(path, STALE_S)
    return _born(found.pid).split("/")[:2] != [boot, start]  # another process has the number now


def _older(path: Path, seconds: float) -> bool:
    """Whether a claim was last renewed longer ago, by the clock of the file system that it lies on.

    A time in the future counts like one in the past: no process renews a claim then.
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
    """Renew the claim's time from now on, by one thread of this process for all its claims."""
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
                if path.exists():  # a file system that does not answer just now
                    continue
            _held.discard(path)


def _forked() -> None:
    """A child has neither its parent's claims nor its thread."""
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
    """What this process's claims say; a forked child has a number, and so a name, of its own."""
    command = "\t".join(" ".join(sys.orig_argv).split())[:200]
    return f"{socket.gethostname()} {own_pid} {_born(own_pid)}\n{command}"


def _born(pid: int) -> str:
    """Which boot of the machine, when in it a process began, and in which name space: process ids are used again.

    Empty off Linux.
    """
    with suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return f"{boot}/{after_name[19]}/{_space()}"
    return ""


@cache
def _space() -> str:
    """The name space in which this process's numbers count; containers of one name may have different ones."""
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def _steal(path: Path) -> None:
    """Remove an abandoned claim; of two processes that saw it, one must not remove the other's new claim."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.stale")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if not abandoned(aside):  # somebody was quicker, and this is theirs
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)
