"""stage=audit: which checkpoints of a model are not what they claim, told from the hashes of their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from massact.config import Config
from massact.disk import write_text
from massact.settings import table_stem
from massact.stages.sources import source_of


def run(config: Config, output: Path) -> list[str]:
    """Write `audit.csv` into the job's folder and name what is suspect."""
    from massact.checkpoints import audit_table, suspects

    table = audit_table(source_of(config))
    path = output / "audit.csv"
    write_text(path, table.to_csv(index=False))
    found = suspects(table)
    return [f"{table_stem(config.model)}: {len(table)} checkpoints, {len(found)} suspect", *found, f"table: {path}"]


def suspects_of(provenance: list[dict[str, Any]]) -> list[str]:
    """Checkpoints that extraction found suspect or could not measure, one line each, from the tables' metadata."""
    lines = []
    for entry in provenance:
        said = {**entry.get("failed", {}), **entry.get("suspects", {})}
        for step, why in sorted(said.items(), key=lambda item: int(item[0])):
            left_out = "" if step in entry["checkpoints"] else " (not measured)"
            lines.append(f"{entry['model']} step {step}: {why}{left_out}")
    return lines
