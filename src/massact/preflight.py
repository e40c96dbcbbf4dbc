"""Check a whole command line, sweeps included, before Hydra starts a job: one clear line instead of a traceback."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hydra import compose, initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from massact.config import Config, register
from massact.errors import ConfigError, MissingInputError
from massact.names import nearest_names
from massact.predict.regressors import regressor_named
from massact.settings import settings

_LADDER = re.compile(r"^suite\.ladders\.[^.]+")


def preflight(overrides: Sequence[str], conf: Path, *, multirun: bool, own: Path | None = None) -> list[Config]:
    """Every composition the command line asks for, each checked.

    Parameters
    ----------
    overrides
        The words of the command line.
    conf
        The folder of the configuration.
    multirun
        Whether it may be a sweep (`-m`).
    own
        A folder with more choices of the groups, searched first (`--config-dir`).

    Raises
    ------
    ConfigError
        The first value that cannot be meant, with the nearest valid choices.
    """
    parsed = _parse(overrides)
    groups = _groups(conf, *([] if own is None else [own]))
    for override in parsed:
        _check_key(override, groups)
        _check_choice(override, groups)
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
        if own is not None:
            _search(own.resolve(), conf.resolve())
        return [settings(composed) for composed in _compositions(parsed, groups, multirun=multirun)]


def _search(first: Path, then: Path) -> None:
    """Compose from two folders. Hydra has no public way to search another folder before the primary one."""
    GlobalHydra.instance().clear()
    searched = create_config_search_path(str(first))
    searched.prepend("command-line", f"file://{then}", SearchPathQuery(provider="schema"))
    Hydra.create_main_hydra2("massact", searched)


def in_project(configs: Sequence[Config], project: Path) -> None:
    """Refuse to work outside a project's folder, where relative paths would lead elsewhere.

    Raises
    ------
    MissingInputError
        When `paths.params` does not exist; the message names the folder to run from.
    """
    for config in configs:
        params = Path(config.paths.params)
        if not params.is_file():
            raise MissingInputError(
                f"{params} is not in {Path.cwd()}", f"run from the project's folder: cd {shlex.quote(str(project))}"
            )


def _parse(overrides: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise ConfigError(*_unreadable(str(error.override), str(error).splitlines()[0])) from None


def _unreadable(override: str, why: str) -> tuple[str, str]:
    """The message for an override that Hydra cannot parse. Values with spaces or non-ASCII letters need quotes."""
    key, equals, value = override.partition("=")
    shown = " ".join(override.split())
    if equals and value and not value.startswith(("'", '"', "[", "{")) and '"' not in value and value.isprintable():
        return f"'{shown}' cannot be read", f"quote the value: '{key}=\"{value}\"'"
    return f"'{shown}' cannot be read ({why.partition(':')[0]})", "write key=value"


def _groups(*folders: Path) -> dict[str, list[str]]:
    """Group name -> its choices in all folders, in natural order."""
    groups: dict[str, set[str]] = {}
    for path in itertools.chain.from_iterable(folder.glob("*/*.yaml") for folder in folders):
        groups.setdefault(path.parent.name, set()).add(path.stem)
    return {name: sorted(choices, key=lambda choice: (len(choice), choice)) for name, choices in sorted(groups.items())}


def _check_key(override: Override, groups: dict[str, list[str]]) -> None:
    key = override.key_or_group
    head, _, regressor = key.partition("regressors.")
    if head == "predictor." and regressor:
        regressor_named(regressor.split(".")[0])
    if key in groups or key.startswith("hydra") or override.package is not None:
        return
    known = list(dict.fromkeys([*groups, *_keys(Config)]))  # a group has its key's name
    generic = _LADDER.sub("suite.ladders", key)  # a ladder's name is free, its settings are not
    if generic not in known and not any(key.startswith(f"{k}.") and k.endswith("regressors") for k in known):
        raise ConfigError(f"{key} is not a setting", f"nearest: {', '.join(nearest_names(key, known))}")


def _check_choice(override: Override, groups: dict[str, list[str]]) -> None:
    group = override.key_or_group
    if group not in groups or override.is_delete():
        return
    for value in _values(override, groups):
        if value not in groups[group]:
            raise ConfigError(
                f"{group} = {value} is not known", f"nearest: {', '.join(nearest_names(value, groups[group], 5))}"
            )


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings of a structured config."""
    hints = get_type_hints(node)
    for item in fields(node):
        if item.metadata.get("omegaconf_ignore"):
            continue
        name = f"{prefix}{item.name}"
        yield name
        for kind in _kinds(hints[item.name]):
            if is_dataclass(kind):
                yield from _keys(kind, f"{name}.")


def _kinds(hint: Any) -> Iterator[Any]:
    """A type and all types inside it."""
    yield hint
    for inner in get_args(hint):
        yield from _kinds(inner)


def _values(override: Override, groups: dict[str, list[str]]) -> list[str]:
    """The values of an override as strings; a glob is expanded to the group's choices."""
    value = override.value()
    if isinstance(value, Glob):
        return value.filter(groups.get(override.key_or_group, []))
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    return [str(value)]


def _compositions(parsed: Sequence[Override], groups: dict[str, list[str]], *, multirun: bool) -> Iterator[DictConfig]:
    """Compose each member of the sweep; `hydra.sweeper.params` of the chosen experiment included."""
    fixed = [o.input_line or "" for o in parsed if not o.is_sweep_override()]
    swept = {o.get_key_element(): _lines(o, groups) for o in parsed if o.is_sweep_override()}
    first = [*fixed, *(lines[0] for lines in swept.values())]
    whole = _compose(first)
    hydra = whole.hydra
    for override in parsed:
        if override.is_sweep_override() and not multirun and hydra.mode != RunMode.MULTIRUN:
            raise ConfigError(f"{override.input_line} names more than one value", "add -m to sweep over them")
    if hydra.mode == RunMode.MULTIRUN and hydra.sweeper.get("params"):
        named = {o.get_key_element() for o in parsed}
        for key, values in hydra.sweeper.params.items():
            if key not in named:
                swept[str(key)] = _lines(_parse([f"{key}={values}"])[0], groups)
    for choice in itertools.product(*swept.values()):
        overrides = [*fixed, *choice]
        yield _without_hydra(whole.copy() if overrides == first else _compose(overrides))


def _lines(override: Override, groups: dict[str, list[str]]) -> list[str]:
    """The single overrides of a sweep; an empty sweep is refused."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    values = _values(override, groups)
    if not values:
        raise ConfigError(f"{override.input_line} matches nothing", f"choices: {_choices(override, groups)}")
    return [f"{override.get_key_element()}={value}" for value in values]


def _choices(override: Override, groups: dict[str, list[str]]) -> str:
    return ", ".join(groups.get(override.key_or_group, [])) or "none"


def _compose(overrides: list[str]) -> DictConfig:
    try:
        return compose("config", overrides=overrides, return_hydra_config=True)
    except YAMLError as error:
        raise ConfigError(f"conf/ is not YAML ({' '.join(str(error).split())})", "correct that line") from None
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
        first = " ".join(str(cause).split("\n")[:1])
        raise ConfigError(f"{' '.join(overrides) or 'conf/'}: {first}", "see docs/configuration.md") from None


def _without_hydra(composed: DictConfig) -> DictConfig:
    from omegaconf import OmegaConf, open_dict

    with open_dict(composed):
        del composed["hydra"]
    OmegaConf.resolve(composed)
    return composed
