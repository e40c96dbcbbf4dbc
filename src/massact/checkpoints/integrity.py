"""The integrity ledger: one row for every checkpoint of every audited model, and what it cost to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from massact.checkpoints.appearance import Reading
from massact.checkpoints.audit import Audit
from massact.checkpoints.groups import MAIN
from massact.checkpoints.hub import FINAL_REVISION
from massact.checkpoints.source import CheckpointStatus

if TYPE_CHECKING:
    import pandas as pd

OK, SUSPECT, OTHER = "ok", "suspect", "other"
COLUMNS = (
    "model", "repository", "step", "revision", "state", "why", "shared", "looks", "bytes", "commit", "weights_sha256",
)  # fmt: skip
# A ledger reads many checkpoints, so a little of each: the header, two norms, and values enough for their deviation.
FRUGAL = Reading(first_bytes=1 << 13, sample=1 << 14)


@dataclass
class Integrity:
    """The rows of a ledger.

    Attributes
    ----------
    rows
        See COLUMNS. `state` is ok, suspect, a status of an unavailable checkpoint (`weights_missing`), or other: a
        finished model that is not the last step of the run, as after a later stage.
    weight_bytes, bytes_read
        Sizes of all weights, and the bytes of them that were read.
    unavailable
        Model -> why none of its checkpoints could be audited.
    """

    rows: list[tuple[object, ...]] = field(default_factory=list)
    weight_bytes: int = 0
    bytes_read: int = 0
    unavailable: dict[str, str] = field(default_factory=dict)

    def add(self, model: str, repositories: Sequence[str], audit: Audit) -> None:
        """Add the checkpoints of one audited model; `repositories` are those of its rows, main last if there is one."""
        table = audit.table().to_dict("records")
        for row, repository in zip(table, repositories, strict=True):
            self.rows.append(
                (
                    model, repository, row["step"], row["revision_asked"], _state(row, audit), row["suspect"],
                    row["shared"], row["looks"], row["bytes"], row["revision_loaded"], row["weights_sha256"],
                )
            )  # fmt: skip
        self.weight_bytes += sum(int(row["bytes"]) for row in table)
        self.bytes_read += audit.bytes_read

    def table(self) -> pd.DataFrame:
        """One row a checkpoint, in order of audit and step."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=list(COLUMNS))


def _state(row: dict[str, object], audit: Audit) -> str:
    if row["status"] != CheckpointStatus.OK:
        return str(row["status"])
    why = str(row["suspect"])
    last = max(audit.identities, default=MAIN)
    if row["step"] == MAIN and row["revision_asked"] == FINAL_REVISION and why == f"is not step {last}":
        return OTHER
    return SUSPECT if why else OK
