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
    """Its name, and the numbers that tell generations apart where a virtual machine calls them all alike."""
    with suppress(OSError):
        return described(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return platform.processor() or platform.machine()


def described(cpuinfo: str) -> str:
    """The first processor of Linux's /proc/cpuinfo in words; the machine's type where it says nothing.

    >>> described("vendor_id\\t: AuthenticAMD\\ncpu family\\t: 25\\nmodel\\t\\t: 1\\nmodel name\\t: AMD EPYC\\n")
    'AMD EPYC (family 25, model 1)'
    """
    lines = (line.partition(":") for line in cpuinfo.partition("\n\n")[0].splitlines())
    said = {name.strip(): value.strip() for name, _, value in lines}
    name = said.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in said and "model" in said:
        return f"{name} (family {said['cpu family']}, model {said['model']})"
    return name
