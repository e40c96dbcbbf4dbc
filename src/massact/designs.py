"""Architectures from the words of a command line: known models, and `name=number`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from massact.architecture import Architecture
from massact.errors import ConfigError


def design_named(text: str) -> Architecture:
    """The architecture of `MODEL`, `name=number,...` or `MODEL,name=number,...`.

    Raises
    ------
    ConfigError
        As `known_architecture` and `architecture_from`.
    """
    first, *rest = text.split(",")
    return architecture_from(rest, known_architecture(first)) if "=" not in first else architecture_from([first, *rest])


def known_architecture(name: str) -> Architecture:
    """The architecture of a model in conf/model.

    Raises
    ------
    ConfigError
        There is no such model, or its architecture is known only from its checkpoints.
    """
    from omegaconf import OmegaConf

    from massact.names import choice
    from massact.shipped import CONF

    files = {path.stem: path for path in (CONF / "model").glob("*.yaml")}
    choice("model", name, files)
    model: Any = OmegaConf.load(files[name])
    bases = [
        one["base@_here_"] for one in model.get("defaults", []) if not isinstance(one, str) and "base@_here_" in one
    ]
    parents: list[Any] = [OmegaConf.load(CONF / "model" / "base" / f"{base}.yaml") for base in bases]
    parts = [parent.get("architecture") for parent in parents]
    merged = OmegaConf.merge(*(part for part in [*parts, model.get("architecture")] if part is not None), {})
    numbers: Any = OmegaConf.to_container(merged)
    if any(numbers.get(size) is None for size in ("n_layers", "d_model", "n_heads", "d_mlp")):
        raise ConfigError(f"the architecture of {name} is in its checkpoints only", "give its numbers")
    return Architecture(**numbers)


def architecture_from(pairs: Sequence[str], known: Architecture | None = None) -> Architecture:
    """An architecture from `name=number` words, or a known one with these numbers in place of its own.

    Raises
    ------
    ConfigError
        A word without '=', an unknown name, a repeated name, a value that is not a number, or a missing required
        number.
    """
    from massact.predict.request import architecture_of, known_name

    kinds: dict[str, Any] = {field.name: field.type for field in fields(Architecture)}
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"{shown(pair)} is not name=number", "e.g. n_layers=24")
        if known_name(name) in values:
            raise ConfigError(f"{name} is given twice", "give each number once")
        values[name] = _number(name, text, str(kinds[name]))
    return architecture_of({**(known.as_dict() if known else {}), **values})


def _number(name: str, text: str, kind: str) -> int | float | bool:
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        return int(text) if kind == "int" else float(text)
    except (KeyError, ValueError):
        expected = {"bool": "true or false", "int": "a whole number"}.get(kind, "a number")
        raise ConfigError(f"{name} = {shown(text)} is not {expected}", f"give {name} as {expected}") from None


def shown(text: str) -> str:
    """A user's word for a message: on one line and shortened."""
    return f"'{' '.join(text[:60].split())}{'...' * (len(text) > 60)}'"
