"""params.yaml: what the pipeline sweeps, read by the stages that look at several models or forms at once."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path

from omegaconf import OmegaConf
from yaml import YAMLError

from massact.disk import input_bytes
from massact.errors import ConfigError
from massact.fit.schemas import DERIVED
from massact.names import component
from massact.trajectories.schemas import FITTED


@dataclass(frozen=True)
class Params:
    """Models, forms, quantities, prediction targets, seeds and suites of the pipeline."""

    models: tuple[str, ...]
    forms: tuple[str, ...]
    quantities: tuple[str, ...]
    targets: tuple[str, ...]
    seeds: tuple[int, ...]
    suites: tuple[str, ...]


def is_pipeline(path: Path) -> bool:
    """Whether a file is there and states models to sweep. That of a project of `massact init` states one folder."""
    try:
        content = OmegaConf.load(path)
    except (OSError, YAMLError, UnicodeDecodeError, RecursionError):
        return path.is_file()  # `load_params` says what is wrong with it
    return "where" not in content


def load_params(path: Path) -> Params:
    """Read and check the file.

    Raises
    ------
    MissingInputError, ConfigError
        Not there; a key missing, unknown, not a list, or a value that does not exist.
    """
    text = input_bytes(path, "run from the project's folder", 1_000_000)
    try:
        # As DVC reads it: ${...} is text.
        content = OmegaConf.to_container(OmegaConf.load(io.StringIO(text.decode("utf-8"))))
    except (YAMLError, UnicodeDecodeError, RecursionError, OSError) as error:  # OSError: a lone number
        raise ConfigError(f"{path} is not YAML ({' '.join(str(error).split())})", "correct that line") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a mapping", "write models: [...] and so on")
    names = {field.name for field in fields(Params)}
    if set(content) != names:
        raise ConfigError(f"{path} has keys {sorted(map(str, content))}", f"it needs exactly {sorted(names)}")
    lists = {}
    for name in names:
        values = content[name]
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{path}: {name} is not a list with members", f"write {name}: [...]")
        lists[name] = tuple(values)
    from massact.fit.forms import FORMS

    parameters = {name for form in FORMS.values() for name in form.parameters}
    known = {"forms": FORMS, "quantities": FITTED, "targets": {*parameters, *DERIVED}}
    for name, choices in known.items():
        for value in lists[name]:
            if value not in choices:
                raise ConfigError(f"{path}: {name} has {value}", f"choose from {', '.join(sorted(choices))}")
    for name in ("models", "suites"):
        for value in lists[name]:
            component(value, f"{path}: {name}")
    for seed in lists["seeds"]:
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ConfigError(f"{path}: seeds has {seed!r}", "give whole numbers from 0 on")
    return Params(**lists)
