"""stage=audit: which checkpoints of a model are not what they claim, told from hashes and some of their numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.compose.sources import source_of
from massact.config import Config
from massact.disk import write_text
from massact.settings import table_stem

if TYPE_CHECKING:
    from massact.checkpoints.audit import Audit


_MEMBERS = 5  # suspects of larger groups are named by their group alone
_NAMED = 20  # suspects named one by one; the table has them all


def run(config: Config, output: Path) -> list[str]:
    """Write `audit.csv` into the job's folder; say how many are suspect, which share weights, and what is wrong."""
    from massact.checkpoints import suspects
    from massact.checkpoints.audit import audit

    found = audit(source_of(config), look_at_all=True)
    table = found.table()
    path = output / "audit.csv"
    write_text(path, table.to_csv(index=False))
    in_groups = {s for _, judgement in found.groups if len(judgement.wrong) > _MEMBERS for s in judgement.wrong}
    alone: Any = table[~table["step"].isin(list(in_groups))]  # pandas' stubs know no column types
    named = suspects(alone)
    shown = named if len(named) <= _NAMED else [*named[:_NAMED], f"and {len(named) - _NAMED} more"]
    return [
        f"{table_stem(config.model)}: {_counts(found)}",
        *found.lines(),
        *shown,
        f"table: {path}",
    ]


def _counts(found: Audit) -> str:
    """How many checkpoints there are, and how many of them are what."""
    trusted = len(found.identities.keys() - found.suspects.keys())
    main = "" if found.final is None else "; main is suspect" if found.final_suspect else "; main is the last step"
    looked = sum(bool(seen.state) for seen in found.looks.values())
    return (
        f"{len(found.identities) + len(found.errors)} checkpoints, {trusted} trusted, {len(found.suspects)} suspect, "
        f"{len(found.errors)} not to be had{main}; {looked} looked at"
    )
