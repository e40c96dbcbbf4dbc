"""Lazy names of a package: each is imported at its first use, so that a command imports only what it needs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from massact.extras import extras_named


def lazy(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A module's `__getattr__` and `__dir__` (PEP 562) for a package.

    Parameters
    ----------
    package
        Its `__name__`.
    homes
        The submodule of each public name; empty if the name is itself a submodule. Other names must differ from those
        of all submodules, because importing a submodule binds its name in the package. A missing optional dependency
        is a MissingExtraError.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with extras_named():
            if not homes[name]:
                return importlib.import_module(f"{package}.{name}")
            return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return find, names
