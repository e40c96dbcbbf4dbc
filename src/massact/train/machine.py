"""Properties of the machine that the last bits of a training depend on, besides its settings."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

from massact import __version__
from massact.extract.provenance import library_versions


def machine(threads: int) -> dict[str, Any]:
    """Processor, threads and versions. Trainings with the same values are bit-identical."""
    return {
        "massact": __version__,
        "processor": _processor(),
        "threads": threads,
        "python": platform.python_version(),
        **library_versions(),
    }


def _processor() -> str:
    """Its name, with the family and model numbers: virtual machines give several generations the same name."""
    with suppress(OSError):
        return described(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return platform.processor() or platform.machine()


def described(cpuinfo: str) -> str:
    """The first processor of Linux's /proc/cpuinfo in words; the machine's type if it names none.

    >>> described("vendor_id\\t: AuthenticAMD\\ncpu family\\t: 25\\nmodel\\t\\t: 1\\nmodel name\\t: AMD EPYC\\n")
    'AMD EPYC (family 25, model 1)'
    """
    lines = (line.partition(":") for line in cpuinfo.partition("\n\n")[0].splitlines())
    values = {name.strip(): value.strip() for name, _, value in lines}
    name = values.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in values and "model" in values:
        return f"{name} (family {values['cpu family']}, model {values['model']})"
    return name
