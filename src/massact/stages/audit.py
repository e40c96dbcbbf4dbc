"""stage=audit: find checkpoints of a model that are not what they claim, by hashes and some of their numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.compose.sources import source_of
from massact.config import Config
from massact.disk import write_text
from massact.settings import table_stem

if TYPE_CHECKING:
    from massact.checkpoints.audit import Audit


_MEMBERS = 5  # of larger groups of suspects, only the group is named
_NAMED = 20  # suspects that are named one by one; the table has all of them


def run(config: Config, output: Path) -> list[str]:
    """Write `audit.csv` into the job's folder. Report how many are suspect, which share weights, and what is wrong."""
    from massact.checkpoints import suspects
    from massact.checkpoints.audit import audit

    result = audit(source_of(config), look_at_all=True)
    table = result.table()
    path = output / "audit.csv"
    write_text(path, table.to_csv(index=False))
    in_groups = {s for _, judgement in result.groups if len(judgement.wrong) > _MEMBERS for s in judgement.wrong}
    alone: Any = table[~table["step"].isin(list(in_groups))]  # pandas' stubs know no column types
    named = suspects(alone)
    shown = named if len(named) <= _NAMED else [*named[:_NAMED], f"and {len(named) - _NAMED} more"]
    return [
        f"{table_stem(config.model)}: {_counts(result)}",
        *result.lines(),
        *shown,
        f"table: {path}",
    ]


def _counts(audit: Audit) -> str:
    """The numbers of all, trusted, suspect and unavailable checkpoints."""
    trusted = len(audit.identities.keys() - audit.suspects.keys())
    main = "" if audit.final is None else "; main is suspect" if audit.final_suspect else "; main is the last step"
    inspected = sum(bool(look.state) for look in audit.looks.values())
    return (
        f"{len(audit.identities) + len(audit.errors)} checkpoints, {trusted} trusted, {len(audit.suspects)} suspect, "
        f"{len(audit.errors)} not available{main}; {inspected} inspected"
    )
