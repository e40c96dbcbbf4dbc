"""Claims: files by which one of several processes holds the right to make something, given up when it dies."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_STALE_S = 6 * 3600.0


def take(path: Path) -> bool:
    """Make the claim ours, unless a living process holds it; that of a dead process is taken over.

    Raises
    ------
    OSError
        When the disk refuses.
    """
    while not _make(path):
        if not abandoned(path):
            return False
        _steal(path)
    return True


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold the claim while the context is open: True, or False when another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = take(path)
    try:
        yield ours
    finally:
        if ours:
            path.unlink(missing_ok=True)


def elsewhere(path: Path) -> bool:
    """Whether another living process holds the claim."""
    return path.is_file() and not abandoned(path) and not _mine(path)


def abandoned(path: Path) -> bool:
    """Whether the claim's process is gone (on this host), or the claim of another host is hours old."""
    try:
        host, pid, born = (*path.read_text().split(" "), "", "", "")[:3]
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return False
    if host != socket.gethostname() or not pid.isdigit():
        return age > (_STALE_S if pid else 10.0)
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return bool(born) and born != _born(int(pid))  # another process has the number now


def _make(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(_me())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _mine(path: Path) -> bool:
    with suppress(OSError):
        return path.read_text() == _me()
    return False


def _me() -> str:
    return _named(os.getpid())


@cache
def _named(own_pid: int) -> str:
    """What this process's claims say; a forked child has a number, and so a name, of its own."""
    return f"{socket.gethostname()} {own_pid} {_born(own_pid)}"


def _born(pid: int) -> str:
    """Which boot of the machine, and when in it a process began: process ids are used again. Empty off Linux."""
    with suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return f"{boot}/{after_name[19]}"
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
