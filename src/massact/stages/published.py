"""stage=published: the paper's published measurements as records of a Pythia model."""

from __future__ import annotations

import logging
from pathlib import Path

from massact.config import Config
from massact.errors import CheckpointError, ConfigError, ParseError
from massact.settings import table_stem

log = logging.getLogger("massact")
DATASET = "Aimpoint-Digital/pythia-massive-activations"
COMMIT = "c4c539ac4f8c8fc9694603895d00c1f1af940a20"


def run(config: Config, output: Path) -> list[str]:
    """Fetch the model's statistics files (cached by huggingface_hub), parse each, list what is rejected."""
    if config.model.family != "pythia" or config.model.deduped or config.model.seed:
        raise ConfigError(f"{table_stem(config.model)} is not in the published dataset", "choose e.g. pythia-1b")
    folder = _fetch(str(config.model.size))
    from massact.trajectories.published import parse_stats

    read, rejected = 0, []
    for path in sorted(folder.glob("exp2_*")):
        try:
            parse_stats(path.read_text(encoding="utf-8"))
            read += 1
        except ParseError as error:
            rejected.append(f"{path.name}: {error}")
    return [f"{folder}: {read} files read, {len(rejected)} rejected", *rejected]


def _fetch(size: str) -> Path:
    from huggingface_hub import snapshot_download

    from massact.checkpoints.hub_errors import http_errors

    try:
        root = snapshot_download(
            DATASET, repo_type="dataset", revision=COMMIT, allow_patterns=[f"pythia_{size}/stats/*"]
        )
    except http_errors() as error:
        raise CheckpointError(
            f"dataset {DATASET} cannot be reached ({str(error).splitlines()[0]})", "connect to the Hub and run it again"
        ) from None
    return Path(root) / f"pythia_{size}" / "stats"
