"""The models of the published suites in conf/model/: every choice of size, corpus, seed and repository."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from massact.checkpoints.pythia import NOT_DEDUPED, SEEDED, SEEDS
from massact.config import ModelConfig, register
from massact.names import choice
from massact.settings import check_suite, repository_of


def suites(conf: Path, own: Path | None = None) -> list[str]:
    """Names of the published suites: the files in `conf`/model, and in `own`/model, of models on the Hub.

    `model=hub` is no suite: its repository is the user's.
    """
    files = itertools.chain.from_iterable(folder.glob("model/*.yaml") for folder in (conf, own) if folder is not None)
    return sorted(path.stem for path in files if path.stem != "hub" and _on_hub(path))


def members(names: Sequence[str], conf: Path, own: Path | None = None) -> Iterator[ModelConfig]:
    """Every published model of these suites, each checked.

    Raises
    ------
    ConfigError
        The name of a suite is not known; the nearest are given.
    """
    known = suites(conf, own)
    for name in names:
        choice("ledger.only", name, known)
    register()
    searched = [] if own is None else [f'hydra.searchpath=["file://{own.resolve()}"]']
    with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
        composed = [compose("config", overrides=[f"model={name}", *searched]).model for name in names]
    for model in composed:
        for values in _choices(model):
            yield _member(model, values)


def _on_hub(path: Path) -> bool:
    node = OmegaConf.load(path)
    bases = [base for entry in OmegaConf.select(node, "defaults", default=[]) for base in _bases(entry)]
    return OmegaConf.select(node, "source") in ("hub", "pythia") or any(base in ("suite", "pythia") for base in bases)


def _bases(entry: Any) -> list[str]:
    return [str(value) for key, value in entry.items() if "base" in str(key)] if hasattr(entry, "items") else []


def _choices(model: DictConfig) -> Iterator[Mapping[str, Any]]:
    """What tells the members of a suite apart, for each of them."""
    if model.source != "pythia":
        stated = OmegaConf.to_container(model.choices) if model.choices is not None else {}
        options = cast("dict[str, list[Any]]", stated)
        yield from (dict(zip(options, values, strict=True)) for values in itertools.product(*options.values()))
        return
    yield {}
    if model.size not in NOT_DEDUPED:
        yield {"deduped": True}
    if model.size in SEEDED:
        yield from ({"seed": seed} for seed in SEEDS)


def _member(model: DictConfig, values: Mapping[str, Any]) -> ModelConfig:
    node = model.copy()
    OmegaConf.set_struct(node, False)
    for key, value in values.items():
        node[key] = value
    # Interpolations of a model may be from the root, as in the shipped files.
    root = OmegaConf.create({"model": node})
    OmegaConf.resolve(root)
    typed = OmegaConf.merge(OmegaConf.structured(ModelConfig), root.model)
    member = cast(ModelConfig, OmegaConf.to_object(typed))
    repository_of(member)
    check_suite(member)
    return member
