"""`massact measure WHERE` and `massact report`: any checkpoints, and a page about them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from massact.errors import ConfigError, MissingInputError
from massact.folders import RESULTS
from massact.names import nearest_names
from massact.shipped import CONF

HUB = "hub:"
# The settings of `massact run` that options of `massact measure` and arguments in Python set.
_KEYS = {
    "name": "model.name",
    "probe": "probe.text",
    "sequences": "probe.sequences",
    "length": "probe.length",
    "layers": "extract.layers",
    "dtype": "protocol.dtype",
    "device": "protocol.device",
    "fit": "fit",
}


def measure_overrides(arguments: argparse.Namespace) -> list[str]:
    """The composition that a `massact measure` command line means, as words for `massact run`.

    Raises
    ------
    ConfigError
        Options that contradict each other, or steps that are not numbers.
    MissingInputError
        A place that is neither a folder nor a known name.
    """
    out = Path(arguments.out)
    options = {name: getattr(arguments, name) for name in _KEYS}
    words = ["stage=measure", *measured_words(arguments.where, arguments.steps, last=arguments.last, **options)]
    words += [f"paths.{name}={quoted(out / name)}" for name in ("records", "extracted", "fits", "results")]
    words += ["tracking=none", f"hydra.run.dir={quoted(out / 'jobs' / '${now:%Y-%m-%d-%H-%M-%S}')}"]
    return [*words, *arguments.overrides]


def measured_words(where: str, steps: str | None = None, *, last: bool = False, **options: object) -> list[str]:
    """Words for `massact run` that say which checkpoints are measured, and how.

    Parameters
    ----------
    steps
        `all`, `log`, or numbers separated by commas; None: all.
    last
        The last checkpoint alone.
    options
        `name probe sequences length layers dtype device fit`; None: massact's own choice.

    Raises
    ------
    ConfigError, MissingInputError
        As `measure_overrides`.
    """
    chosen = {_KEYS[name]: value for name, value in options.items() if value is not None}
    return [*_model(where), *_steps(steps, last), *(f"{key}={quoted(value)}" for key, value in chosen.items())]


def measure_command(arguments: argparse.Namespace) -> int:
    """Measure, fit and show the layers; returns the exit code."""
    from massact import app

    sys.argv = ["massact run", *measure_overrides(arguments)]
    code = app.main()
    if code == 0:
        out = "" if arguments.out == RESULTS else f" --out {arguments.out}"
        sys.stdout.write(f"see it as a page: massact report{out}\n")
    return code


def report_command(arguments: argparse.Namespace) -> str:
    """Write a page about every model in a folder of results, and every statistic that was measured of them.

    Raises
    ------
    MissingInputError
        A folder without measured models.
    """
    from dataclasses import replace

    from massact.extract import STATISTICS, get_statistic
    from massact.stages.report import inputs_of, page_target, statistic_tables, write_page
    from massact.stages.swept import fit_paths_in

    folder, aggregation = Path(arguments.out), arguments.aggregation
    path = page_target(folder)
    of_statistic = _tables(folder / "extracted")
    tables = of_statistic.pop("", [])
    if not tables:
        raise MissingInputError(f"{folder} holds no measured models", "measure some with: massact measure FOLDER")

    def fits(tables: list[Path]) -> dict[str, list[Path]]:
        return fit_paths_in(folder / "fits", [table.stem for table in tables])

    others = [
        statistic_tables(get_statistic(name), files, fits(files), aggregation)
        for name, files in of_statistic.items()
        if name in STATISTICS
    ]
    inputs = inputs_of(tables, fits(tables), aggregation)
    lines = write_page(replace(inputs, others=others, predicted=False), path)
    unknown = [name for name in of_statistic if name not in STATISTICS]
    if unknown:
        lines.append(f"not in the report, because no installed package has the statistic: {', '.join(unknown)}")
    return "\n".join([*lines, f"report: {path.resolve()}"])


def _tables(folder: Path) -> dict[str, list[Path]]:
    """The tables of records in a folder by statistic: "" for magnitudes, whose tables are named by the model alone."""
    tables: dict[str, list[Path]] = {}
    for table in sorted(folder.glob("*.parquet")):
        _, _, statistic = table.stem.rpartition("-seed")[2].partition(".")  # a model's name may contain dots
        tables.setdefault(statistic, []).append(table)
    return tables


def _model(where: str) -> list[str]:
    if where.startswith(HUB):
        return ["model=hub", f"model.repository={quoted(where.removeprefix(HUB))}"]
    if Path(where).is_dir():
        return ["model=folder", f"model.folder={quoted(Path(where))}"]
    known = sorted({path.stem for path in (CONF / "model").glob("*.yaml")} - {"folder", "hub"})
    if where in known:
        return [f"model={where}"]
    raise MissingInputError(
        f"{where} is not a folder",
        f"give a folder, {HUB}OWNER/NAME, or a known model such as {', '.join(nearest_names(where, known)[:3])}",
    )


def _steps(steps: str | None, last: bool) -> list[str]:
    if last:
        if steps is not None:
            raise ConfigError("--last and --steps contradict each other", "give one of them")
        return ["checkpoints=last"]
    if steps is None or steps == "all":
        return []
    if steps == "log":
        return ["checkpoints=log"]
    try:
        return ["checkpoints=list", f"checkpoints.steps={[int(part) for part in steps.split(',')]}".replace(" ", "")]
    except ValueError:
        raise ConfigError(f"--steps {steps!a} is not a list of steps", "give all, log, or e.g. 0,512,1000") from None


def quoted(value: object) -> str:
    """A value for Hydra's grammar."""
    text = str(value)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
