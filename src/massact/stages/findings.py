"""stage=findings: the results of a suite: which factors change the spike, and how much of it is chance."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from massact.config import Config
from massact.disk import file_target, write_bytes, write_text
from massact.fit.schemas import fits_schema
from massact.stages.gather import suite_rows
from massact.stages.places import place
from massact.stages.swept import suite_fits_path, suite_records
from massact.tables import read_table
from massact.trajectories import ARCHITECTURES, aggregate


def run(config: Config, output: Path) -> list[str]:
    """Write `results/findings/<suite>/`: the tables as Markdown, and figures."""
    from massact.findings import HEAD, findings_page, suite_figures

    name = config.suite.name
    folder = place(config, "results", output) / "findings" / name
    file_target(folder / "findings.md", lambda head: head.startswith(HEAD.encode()))
    records = suite_records(config, name)
    architectures = ARCHITECTURES.validate(pd.DataFrame(suite_rows(config, name)), f"{name}: trainings")
    trajectories = aggregate(records, config.protocol.aggregation)
    fits = read_table(suite_fits_path(config, name, config.fit.form), fits_schema(config.fit.form))
    write_text(folder / "findings.md", findings_page(records, architectures, trajectories, fits))
    figures = suite_figures(trajectories, architectures)
    for stem, content in figures.items():
        write_bytes(folder / f"{stem}.png", content)
    return [f"{folder}: findings.md and {len(figures)} figures"]
