"""Checkpoints that are not what they claim, told from the hashes of their weights."""

from __future__ import annotations

import pandas as pd

from massact.checkpoints.hub import HubSource
from massact.checkpoints.source import CheckpointSource, SourceError

# Pythia's step 0 and step 1 are published with the same weights (EleutherAI/pythia issue 83).
ALLOWED_TWINS = {(0, 1)}


def audit_table(source: CheckpointSource) -> pd.DataFrame:
    """One row per step: commit, hash of the weights, the earlier step with the same weights (-1: none), status.

    Hub repositories are audited from what the Hub states, without a download.
    """
    rows = []
    first: dict[str, int] = {}
    for step in source.steps():
        try:
            revision, sha = _identity(source, step)
        except SourceError as error:
            rows.append((step, "", "", -1, str(error.status)))
            continue
        twin = first.setdefault(sha, step)
        rows.append((step, revision, sha, twin if twin != step else -1, "ok"))
    return pd.DataFrame(rows, columns=["step", "revision_loaded", "weights_sha256", "duplicate_of", "status"])


def suspects(table: pd.DataFrame) -> list[str]:
    """One line per checkpoint that should not be trusted."""
    lines = [f"step {row.step}: {row.status}" for row in table[table["status"] != "ok"].itertuples()]
    for row in table[table["duplicate_of"] >= 0].itertuples():
        if (row.duplicate_of, row.step) not in ALLOWED_TWINS:
            lines.append(f"step {row.step} has the weights of step {row.duplicate_of}")
    return lines


def _identity(source: CheckpointSource, step: int) -> tuple[str, str]:
    if isinstance(source, HubSource) and not source.offline:
        return source.weight_hashes(step)
    resolved = source.resolve(step)
    return resolved.revision_loaded, resolved.weights_sha256


