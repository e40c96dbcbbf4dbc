"""A configured suite: its members, their training text and their probe."""

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
    """The suite of a configuration. Its members are checked before the text is read, which takes seconds."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    recipe = config.suite.recipe
    members = members_of(config)
    chosen(members, config.suite.only)
    works, held_out = split_works(read_works(Path(config.probe.corpus)), config.probe.held_out_works)
    text = TrainingText.of(works, held_out, recipe.vocabulary)
    ids = encode_works(text.tokenizer, ["\n\n".join(held_out)])  # encoded as in an extraction from checkpoints
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
    """The members of the grid, then those of the ladders."""
    suite = config.suite
    recipe = suite.recipe
    check_trained_here(recipe, suite.name)
    sizes: dict[str, Any] = {"vocab_size": recipe.vocabulary, "context": recipe.window}
    architectures = design(suite.space, suite.architectures, seed=suite.seed, **sizes)
    members = grid(suite.name, architectures, suite.replicated, suite.replicates)
    for name, rungs in (suite.ladders or {}).items():
        numbers: dict[str, Any] = {str(k): v for k, v in vars(rungs).items() if k != "n_heads"}
        first = Architecture(**numbers, n_heads=rungs.n_heads[0], **sizes)
        members += ladder(suite.name, name, first, rungs.n_heads, range(suite.replicates))
    return members


def chosen(members: Sequence[Member], names: Sequence[str]) -> list[Member]:
    """The named members; all members if none is named.

    Raises
    ------
    ConfigError
        When a name is not that of a member.
    """
    known = [member.name for member in members]
    for name in names:
        if name not in known:
            raise ConfigError(
                f"suite.only: {name} is not a member", f"nearest: {', '.join(nearest_names(name, known))}"
            )
    return [member for member in members if not names or member.name in names]
