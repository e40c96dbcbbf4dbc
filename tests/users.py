"""Run code without the rights of the superuser, whom file permissions do not stop."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def unprivileged() -> Iterator[None]:
    """Another user's rights in this process, where it has the superuser's."""
    ours = os.geteuid()
    if ours == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(ours)


def without_override() -> list[str]:
    """Words before a command that take the superuser's right to pass over permissions from it."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is needed to hold the superuser to permissions")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
