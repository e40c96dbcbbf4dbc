"""Checkpoints that are not what they claim, told from the hashes of their weights."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pandas as pd

from massact.checkpoints.hub import HubSource
from massact.checkpoints.pythia import KNOWN_SUSPECTS
from massact.checkpoints.source import CheckpointSource, CheckpointStatus, Identity, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS = ("step", "status", "revision_loaded", "weights_sha256", "duplicate_of", "shared", "note")
# A first update whose learning rate is zero changes nothing: so in every Pythia (EleutherAI/pythia issue 83).
ALLOWED_TWINS = {(0, 1)}


def audit_table(source: CheckpointSource) -> pd.DataFrame:
    """One row a step, compared by hashes; of a Hub repository nothing is downloaded.

    Returns
    -------
    DataFrame
        `step`, `status` (a CheckpointStatus), `revision_loaded`, `weights_sha256`; `duplicate_of`, the first
        earlier step with one of the same weight files (-1: none), and `shared`, those files' names; `note`, why a
        step failed or what is known of it.

    Raises
    ------
    SourceError
        When not one step can be had.
    """
    known = _known(source)
    rows: list[tuple[object, ...]] = []
    first: dict[tuple[str, str], int] = {}
    last_error: SourceError | None = None
    for step in source.steps():
        try:
            identity = source.identify(step)
        except SourceError as error:
            if error.fatal:
                raise
            last_error = error
            rows.append(
                (step, str(error.status), "", "", -1, "", "; ".join(filter(None, (error.what, known.get(step)))))
            )
            continue
        twin, shared = _shared(identity, first)
        rows.append((step, "ok", identity.revision_loaded, identity.weights_sha256, twin, shared, known.get(step, "")))
    if last_error is not None and all(row[1] == CheckpointStatus.UNREACHABLE for row in rows):
        raise last_error
    return pd.DataFrame(rows, columns=list(COLUMNS))


def suspects(table: pd.DataFrame) -> list[str]:
    """One line per checkpoint of an `audit_table` that should not be trusted, in order of step.

    Two steps that share a file tell that one of them is wrong, not which; `note` knows some.
    """
    lines = []
    whole = dict(zip(table["step"], table["weights_sha256"], strict=True))
    for row in table.to_dict("records"):
        step, twin = int(row["step"]), int(row["duplicate_of"])
        said = []
        if row["status"] != CheckpointStatus.OK:
            said.append(str(row["status"]))
        if twin >= 0 and (twin, step) not in ALLOWED_TWINS:
            same = whole[twin] == row["weights_sha256"]
            said.append(f"has the weights of step {twin}" if same else f"shares {row['shared']} with step {twin}")
        if row["note"]:
            said.append(str(row["note"]))
        if said:
            lines.append(f"step {step}: {'; '.join(said)}")
    return lines


def _shared(identity: Identity, first: dict[tuple[str, str], int]) -> tuple[int, str]:
    """The first step with a file of this one, and the files in common with it; remembers this one's files."""
    common: defaultdict[int, list[str]] = defaultdict(list)
    for name, sha in identity.files.items():
        earlier = first.setdefault((name, sha), identity.step)
        if earlier != identity.step:
            common[earlier].append(name)
    if not common:
        return -1, ""
    twin = min(common)
    return twin, ", ".join(common[twin])


def _known(source: CheckpointSource) -> Mapping[int, str]:
    if not isinstance(source, HubSource):
        return {}
    return {step: what for (repository, step), what in KNOWN_SUSPECTS.items() if repository == source.repo_id}
