"""Names: those that become files are one safe component, and unknown ones are answered with the nearest."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from typing import Any

from massact.errors import ConfigError, MassactError

LONGEST_NAME = 100
_COMPONENT = re.compile(r"[A-Za-z0-9._-]+")
_SHOWN = 60


def component(name: object, where: str, error: type[MassactError] = ConfigError) -> str:
    """Return the name if it is a safe path component.

    Parameters
    ----------
    where
        The key of the name, or its file and key, for the message.
    error
        The exception type: `ConfigError` for a configuration, `TableError` for a file.

    Raises
    ------
    ConfigError or `error`
        The name is not 1 to 100 letters (a-z, A-Z), digits, dots, underscores and hyphens, or it is "." or "..".

    >>> component("pythia-1.4b", "model.name")
    'pythia-1.4b'
    """
    text = name if isinstance(name, str) else repr(name)
    if isinstance(name, str) and _COMPONENT.fullmatch(name) and len(name) <= LONGEST_NAME and name not in (".", ".."):
        return name
    shown = ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
    raise error(
        f"{where} = {shown} cannot name a file",
        f"use at most {LONGEST_NAME} letters (a-z), digits, '.', '_' and '-'",
    )


def repository(name: object, where: str) -> str:
    """Return the name of a repository, `owner/name`, if both parts are safe path components.

    Raises
    ------
    ConfigError
        Anything else.

    >>> repository("allenai/OLMo-1B-hf", "model.repository")
    'allenai/OLMo-1B-hf'
    """
    owner, slash, own = str(name).partition("/")
    if not slash:
        raise ConfigError(f"{where} = {str(name)[:_SHOWN]!a}", "write owner/name, e.g. allenai/OLMo-1B-hf")
    component(owner, f"{where}, its owner,")
    component(own, f"{where}, its name,")
    return str(name)


def revision(name: object, where: str) -> str:
    """Return the name of a branch, tag or commit if it is safe components joined by slashes, e.g. refs/pr/1.

    Raises
    ------
    ConfigError
        Anything else.
    """
    for part in str(name).split("/"):
        component(part, where)
    return str(name)


def slug(name: str) -> str:
    """A safe path component for any name: the name itself if it is safe, else its letters and a hash.

    >>> slug("my runs/first"), slug("eq9")
    ('my-runs-first-6e4d6ae5', 'eq9')
    """
    import hashlib

    try:
        return component(name, "name")
    except ConfigError:
        letters = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:_SHOWN]
        return f"{letters or 'name'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def nearest_names(name: str, choices: Iterable[str], n: int = 3) -> list[str]:
    """The valid names nearest to a wrong one; all of them when they are few."""
    known = list(choices)
    close = difflib.get_close_matches(name, known, n=n, cutoff=0.5)
    return close or (known if len(known) <= 12 else known[:12])


def choice(key: str, value: Any, choices: Collection[str]) -> None:
    """Refuse a value that is not among the choices.

    Raises
    ------
    ConfigError
        With the nearest valid ones.
    """
    if value not in choices:
        raise ConfigError(f"{key} = {value} is not known", f"nearest: {', '.join(nearest_names(str(value), choices))}")
