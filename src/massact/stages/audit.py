"""stage=audit: which checkpoints of a model are not what they claim, told from the hashes of their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from massact.config import Config
from massact.settings import table_stem
from massact.stages.extract import source_of


def run(config: Config, output: Path) -> list[str]:
    """Write `audit.csv` into the job's folder and name what is suspect."""
    from massact.checkpoints import audit_table, suspects

    table = audit_table(source_of(config))
    output.mkdir(parents=True, exist_ok=True)
    path = output / "audit.csv"
    table.to_csv(path, index=False)
    found = suspects(table)
    return [f"{table_stem(config.model)}: {len(table)} checkpoints, {len(found)} suspect", *found, f"table: {path}"]


def suspects_of(provenance: list[dict[str, Any]]) -> list[str]:
    """Checkpoints whose weights are another step's, from the hashes in the tables' metadata."""
    lines = []
    for entry in provenance:
        first: dict[str, str] = {}
        for step, checkpoint in sorted(entry["checkpoints"].items(), key=lambda item: int(item[0])):
            twin = first.setdefault(checkpoint["weights_sha256"], step)
            if twin != step and not (twin == "0" and step == "1"):
                lines.append(f"{entry['model']} step {step} has the weights of step {twin}")
    return lines
