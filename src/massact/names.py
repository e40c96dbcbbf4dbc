"""Names: those that become files are one safe component, and unknown ones are answered with the nearest."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from massact.errors import ConfigError, MassactError

LONGEST_NAME = 100
_COMPONENT = re.compile(r"[A-Za-z0-9._-]+")
_SHOWN = 60


def component(name: object, where: str, error: type[MassactError] = ConfigError) -> str:
    """The name itself, when it can be one component of a path.

    Parameters
    ----------
    where
        The key, or the file and the key, that the name stands in.
    error
        What to raise: `ConfigError` for a configuration, `TableError` for a file.

    Raises
    ------
    ConfigError or `error`
        Anything but 1 to 100 of the letters a-z and A-Z, digits, dot, underscore and hyphen; "." and "..".

    >>> component("pythia-1.4b", "model.name")
    'pythia-1.4b'
    """
    text = name if isinstance(name, str) else repr(name)
    if isinstance(name, str) and _COMPONENT.fullmatch(name) and len(name) <= LONGEST_NAME and name not in (".", ".."):
        return name
    shown = ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
    raise error(
        f"{where} = {shown} cannot name a file",
        f"use letters (a-z), digits, '.', '_' and '-', at most {LONGEST_NAME} of them",
    )


def repository(name: object, where: str) -> str:
    """The name of a repository, `owner/name`, both of them safe components.

    Raises
    ------
    ConfigError
        Anything else.

    >>> repository("allenai/OLMo-1B-hf", "model.repository")
    'allenai/OLMo-1B-hf'
    """
    owner, slash, own = str(name).partition("/")
    if not slash:
        raise ConfigError(f"{where} = {str(name)[:_SHOWN]!a}", "name it owner/name, e.g. allenai/OLMo-1B-hf")
    component(owner, f"{where}, its owner,")
    component(own, f"{where}, its name,")
    return str(name)


def revision(name: object, where: str) -> str:
    """The name of a branch, a tag or a commit: safe components with slashes between them, e.g. refs/pr/1.

    Raises
    ------
    ConfigError
        Anything else.
    """
    for part in str(name).split("/"):
        component(part, where)
    return str(name)


def slug(name: str) -> str:
    """A safe component for any name: the name itself where it is one, else its letters and a hash.

    >>> slug("my runs/first"), slug("eq9")
    ('my-runs-first-6e4d6ae5', 'eq9')
    """
    import hashlib

    try:
        return component(name, "name")
    except ConfigError:
        kept = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:_SHOWN]
        return f"{kept or 'name'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def nearest_names(name: str, choices: Iterable[str], n: int = 3) -> list[str]:
    """The valid names nearest to a wrong one; all of them when they are few."""
    known = list(choices)
    close = difflib.get_close_matches(name, known, n=n, cutoff=0.5)
    return close or (known if len(known) <= 12 else known[:12])


def choice(key: str, value: Any, choices: Iterable[str]) -> None:
    """Hold a value to the names that a key may have.

    Raises
    ------
    ConfigError
        With the nearest valid ones.
    """
    known = list(choices)
    if value not in known:
        raise ConfigError(f"{key} = {value} is not known", f"nearest: {', '.join(nearest_names(str(value), known))}")
