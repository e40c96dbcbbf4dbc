"""What the last bits of a training depend on besides its settings."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

from massact import __version__
from massact.extract.provenance import library_versions


def machine(threads: int) -> dict[str, Any]:
    """Kind of machine, threads and versions: the same ones give the same bits."""
    return {
        "massact": __version__,
        "processor": _processor(),
        "threads": threads,
        "python": platform.python_version(),
        **library_versions(),
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
