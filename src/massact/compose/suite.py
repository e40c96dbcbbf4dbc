"""A configured suite: its members, and what they are trained on and measured with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from massact.architecture import Architecture
from massact.config import Config
from massact.disk import file_target
from massact.errors import ConfigError
from massact.extract.probe import CORPUS, chunk
from massact.extract.provenance import device_named
from massact.extract.store import RecordStore
from massact.names import nearest_names
from massact.settings import check_trained_here
from massact.train.corpus import read_works, split_works
from massact.train.data import TrainingText, encode_works
from massact.train.design import design
from massact.train.members import Member, grid, ladder
from massact.train.suite import Suite


def suite_of(config: Config) -> Suite:
    """The suite a configuration describes; its members are checked before the text is read, which takes seconds."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    recipe = config.suite.recipe
    members = members_of(config)
    chosen(members, config.suite.only)
    works, held_out = split_works(read_works(Path(config.probe.corpus)), config.probe.held_out_works)
    text = TrainingText.of(works, held_out, recipe.vocabulary)
    ids = encode_works(text.tokenizer, ["\n\n".join(held_out)])  # as an extraction from checkpoints reads them
    return Suite(
        members,
        recipe,
        Path(config.paths.runs) / "suite",
        published=file_target(Path(config.paths.trajectories) / f"{config.suite.name}.parquet"),
        text=text,
        probe=chunk(
            ids,
            sequences=config.probe.sequences,
            length=recipe.window,
            first_token=recipe.first_token,
            text=CORPUS,
        ),
        store=RecordStore(Path(config.paths.records)),
        measured=config.suite.measured,
        threads=config.train.threads,
        device=device_named(config.protocol.device),
    )


def members_of(config: Config) -> list[Member]:
    """The grid's members, then the ladders'."""
    wanted = config.suite
    recipe = wanted.recipe
    check_trained_here(recipe, wanted.name)
    sizes: dict[str, Any] = {"vocab_size": recipe.vocabulary, "context": recipe.window}
    architectures = design(wanted.space, wanted.architectures, seed=wanted.seed, **sizes)
    members = grid(wanted.name, architectures, wanted.replicated, wanted.replicates)
    for name, rungs in (wanted.ladders or {}).items():
        numbers: dict[str, Any] = {str(k): v for k, v in vars(rungs).items() if k != "n_heads"}
        first = Architecture(**numbers, n_heads=rungs.n_heads[0], **sizes)
        members += ladder(wanted.name, name, first, rungs.n_heads, range(wanted.replicates))
    return members


def chosen(members: Sequence[Member], names: Sequence[str]) -> list[Member]:
    """The named members, all when none is named.

    Raises
    ------
    ConfigError
        A name that is no member's.
    """
    known = [member.name for member in members]
    for name in names:
        if name not in known:
            raise ConfigError(f"suite.only: {name} is no member", f"nearest: {', '.join(nearest_names(name, known))}")
    return [member for member in members if not names or member.name in names]
