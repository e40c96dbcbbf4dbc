"""The section on statistics other than magnitudes: curves, maps and fits of each. It is what its template shows."""

from __future__ import annotations

from typing import Any

from massact.report.frames import where
from massact.report.inputs import ReportInputs, StatisticTables, TrainingRun, labels, runs_of
from massact.report.plot_fits import overlay_figure
from massact.report.plot_trajectories import RUNS_PER_MAP, chunks, heatmap_figure, trajectories_figure
from massact.report.sections_fitted import MOST_OVERLAYS


def statistics_section(inputs: ReportInputs) -> dict[str, Any]:
    """One entry per statistic, in the order of the tables."""
    runs = {*inputs.runs, *(run for tables in inputs.others for run in runs_of(tables.trajectories))}
    named = labels(sorted(runs))
    return {"statistics": [_statistic(tables, named) for tables in inputs.others]}


def figures_expected(inputs: ReportInputs) -> int:
    """About how many figures the section has."""
    return sum(len(runs_of(tables.trajectories)) * (1 + len(tables.statistic.quantities)) for tables in inputs.others)


def _statistic(tables: StatisticTables, named: dict[TrainingRun, str]) -> dict[str, Any]:
    statistic, frame = tables.statistic, tables.trajectories
    runs = runs_of(frame)
    fitted = [
        (run, quantity)
        for quantity in statistic.fitted
        for run in runs
        if any(len(where(fits, quantity=quantity, **run._asdict())) for fits in tables.fits.values())
    ]
    return {
        "name": statistic.name,
        "by_head": "head" in statistic.axes,
        "meanings": [(quantity.label, quantity.meaning) for quantity in statistic.quantities.values()],
        "curves": (
            (trajectories_figure(frame, group, named, statistic), [named[run] for run in group])
            for group in chunks(runs)
        ),
        "maps": (
            (heatmap_figure(frame, group, named, statistic, name), quantity.label, [named[run] for run in group])
            for name, quantity in statistic.quantities.items()
            for group in chunks(runs_of(where(frame, quantity=name)), RUNS_PER_MAP)
        ),
        "fits": (
            (
                overlay_figure(frame, tables.fits, run, quantity, statistic),
                statistic.quantities[quantity].label,
                named[run],
            )
            for run, quantity in fitted[:MOST_OVERLAYS]
        ),
    }
