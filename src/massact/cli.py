"""The console script: `massact forecast n_layers=24 d_model=1024 n_heads=16 d_mlp=4096`, `massact run stage=fit`."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from massact import __version__, own
from massact.architecture import Architecture
from massact.designs import architecture_from, design_named, known_architecture, shown
from massact.errors import ConfigError, MassactError
from massact.extras import extras_named
from massact.init import init_command

COMMANDS = ("compare", "forecast", "init", "measure", "report", "run", "summary")
ALL = "all"
_COMMITTED = "git checkout -- dvc.lock src/massact/artefacts/forecast.json && dvc pull"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand. A user's error prints one line and gives exit status 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with extras_named():
            if words[:1] == ["run"]:
                return _run(words[1:])
            parser = _parser()
            _check_command(words)
            arguments = parser.parse_args(words)
            if arguments.command == "measure":
                return own.measure_command(arguments)
            sys.stdout.write(arguments.answer(arguments) + "\n")
    except MassactError as error:
        sys.stderr.write(f"massact: {error}\n")
        return error.exit_code
    return 0


def _run(words: Sequence[str]) -> int:
    """Hydra's own command line, which it reads from `sys.argv`."""
    from massact import app

    sys.argv = ["massact run", *words]
    return app.main()


def forecast_command(arguments: argparse.Namespace) -> str:
    """The basis of the forecast and its table, or the whole table as CSV or JSON."""
    from massact.predict import forecast
    from massact.predict.screen import forecast_csv, forecast_json, forecast_text

    names = ("recipe", "steps", "level", "holds", "artefact")
    options = {name: getattr(arguments, name) for name in names}
    if arguments.run is None:
        architecture = _architecture(arguments, None)
        table = forecast(architecture, **options)
    else:
        from massact.predict.continuation import forecast_run, read_run

        run = read_run(arguments.run)
        architecture = _architecture(arguments, run.architecture)
        if arguments.recipe is None:
            options["recipe"] = run.recipe_in(arguments.artefact)
        table = forecast_run(architecture, run.measured, **options)
    if arguments.strict and table.attrs["outside"]:
        raise ConfigError(table.attrs["caution"], "leave --strict out to see the extrapolation")
    layers = range(architecture.n_layers) if arguments.layers == ALL else arguments.layers
    if arguments.csv:
        return forecast_csv(table, architecture, layers=layers)
    if arguments.json:
        return forecast_json(table, architecture, layers=layers)
    return forecast_text(table, architecture, level=arguments.level, holds=arguments.holds, layers=layers)


def compare_command(arguments: argparse.Namespace) -> str:
    """Two designs side by side."""
    from massact.predict.comparison import compare, comparison_text

    options = {name: getattr(arguments, name) for name in ("recipe", "steps", "level", "artefact")}
    table = compare(design_named(arguments.first), design_named(arguments.second), **options)
    return comparison_text(table, arguments.level)


def _architecture(arguments: argparse.Namespace, known: Architecture | None) -> Architecture:
    """From `--like`, or from the file of a run, with the numbers of the command line in place of theirs."""
    if arguments.like is not None:
        known = known_architecture(arguments.like)
    if known is None and not arguments.numbers:
        raise ConfigError("no architecture is given", "e.g. n_layers=24 d_model=1024 n_heads=16 d_mlp=4096")
    return architecture_from(arguments.numbers, known)


def summary_text(arguments: argparse.Namespace) -> str:
    """The headline numbers of the last report, its path, and the largest difference from the committed tables."""
    from massact.compare import differences_from_committed
    from massact.errors import MissingInputError

    results = Path(arguments.results)
    headline = results / "headline.txt"
    try:
        lines = headline.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise MissingInputError(f"{headline} does not exist", "create it with: dvc repro") from None
    except (OSError, UnicodeDecodeError) as error:
        raise MissingInputError(
            f"{headline} cannot be read ({error})", "recreate it with: dvc repro -f report"
        ) from None
    try:
        worst = max(differences_from_committed(Path.cwd()), key=lambda difference: difference.relative)
        at = f" ({worst.path}, {worst.where})" if worst.where else ""
        lines.append(f"largest relative difference from the committed tables: {worst.relative:.2g}{at}")
        if worst.relative:
            lines.append(f"dvc.lock describes the tables made here; to restore the committed ones: {_COMMITTED}")
    except MassactError as error:
        lines.append(str(error))
    text = "\n".join([*lines, f"report: {(results / 'report.html').resolve()}"])
    known = sys.stdout.encoding or "ascii"  # an ASCII terminal shows other characters as escapes
    return text.encode(known, "backslashreplace").decode(known)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others, and that accepts no abbreviated options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(" ".join(message.split())[:200], f"see: {self.prog} --help")


class _Once(argparse.Action):
    """An option that may be given only once, so that no value is silently ignored."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *rest: Any) -> None:
        given = namespace.__dict__.setdefault("given", set())
        if self.dest in given:
            parser.error(f"--{self.dest} is given twice")
        given.add(self.dest)
        setattr(namespace, self.dest, rest[0])


def _check_command(words: Sequence[str]) -> None:
    """Refuse an unknown command and suggest the nearest one."""
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        near = difflib.get_close_matches(words[0], COMMANDS, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else f"commands: {', '.join(COMMANDS)}"
        raise ConfigError(f"{shown(words[0])} is not a command", remedy)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="massact", description="Massive activations: forecasts and results.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    forecast = commands.add_parser(
        "forecast", help="forecast the ratio of an architecture over training, with intervals"
    )
    forecast.add_argument("numbers", nargs="*", metavar="name=number", help="e.g. n_layers=24 d_model=1024")
    forecast.add_argument("--like", action=_Once, metavar="MODEL", help="the architecture of a known model: pythia-1b")
    forecast.add_argument(
        "--from",
        dest="run",
        action=_Once,
        metavar="FILE",
        help="the first steps of a run: a table of records, or a CSV file with columns step, layer, value",
    )
    forecast.add_argument(
        "--recipe", action=_Once, help="training recipe (default: the one learnt from the most architectures)"
    )
    forecast.add_argument("--steps", action=_Once, type=_whole_numbers, help="steps to forecast, e.g. 512,2048")
    forecast.add_argument("--level", action=_Once, type=float, default=0.9, help="coverage of the bands (0.9)")
    forecast.add_argument(
        "--holds",
        action=_Once,
        default="point",
        choices=("point", "curve", "training"),
        help="what a band holds: a layer at a step, a layer's whole curve, a whole training (point)",
    )
    forecast.add_argument("--layers", action=_Once, type=_layers, help="layers to show, e.g. 0,5,23, or all")
    forecast.add_argument("--csv", action="store_true", help="as CSV, one row per step and layer")
    forecast.add_argument("--json", action="store_true", help="as JSON, a list of rows")
    forecast.add_argument("--strict", action="store_true", help="exit 2 for an architecture outside the measured range")
    forecast.add_argument(
        "--artefact", action=_Once, help="a forecast model learnt from your own runs (the JSON file of stage=predict)"
    )
    forecast.set_defaults(answer=forecast_command)
    compare = commands.add_parser("compare", help="the forecasts of two designs side by side, and their difference")
    for name in ("first", "second"):
        compare.add_argument(
            name,
            help="a known model, numbers, or both: pythia-14m,n_layers=4 or n_layers=4,d_model=128,...",
        )
    compare.add_argument("--recipe", action=_Once, help="training recipe (default: as massact forecast)")
    compare.add_argument("--steps", action=_Once, type=_whole_numbers, help="steps, e.g. 512,2048")
    compare.add_argument("--level", action=_Once, type=float, default=0.9, help="coverage of the intervals (0.9)")
    compare.add_argument("--artefact", action=_Once, help="a forecast model learnt from your own runs")
    compare.set_defaults(answer=compare_command)
    init = commands.add_parser("init", help="a project of one's own, in which dvc repro measures, fits and reports")
    init.add_argument("folder", help="a folder that is empty or not there yet")
    init.set_defaults(answer=init_command)
    _add_measure(commands)
    report = commands.add_parser("report", help="an HTML page on all models that massact measure has measured")
    report.add_argument("--out", default=own.RESULTS, help=f"the folder of results (default: {own.RESULTS})")
    report.add_argument(
        "--aggregation", default="ratio_of_means", choices=("ratio_of_means", "mean_of_ratios"),
        help="how sequences are aggregated (default: ratio_of_means, Eq. 8 of the paper)",
    )  # fmt: skip
    report.set_defaults(answer=own.report_command)
    commands.add_parser(
        "run", help="a stage or a sweep of the pipeline, as python run.py in a checkout; see: massact run --help"
    )
    summary = commands.add_parser("summary", help="the headline numbers of the pipeline, and the path of its report")
    summary.add_argument("--results", default="results", help="the pipeline's results folder (default: results)")
    summary.set_defaults(answer=summary_text)
    return parser


def _add_measure(commands: Any) -> None:
    measure = commands.add_parser(
        "measure",
        help="measure and fit the checkpoints of a folder, a repository of the Hub, or a suite",
        description="Measure massive activations over the checkpoints of any causal language model, and fit them.",
    )
    measure.add_argument(
        "where",
        help="a folder of checkpoints (step1000/, checkpoint-1000/, ...) or of one model; hub:OWNER/NAME; or a known "
        "model such as pythia-70m",
    )
    measure.add_argument("--steps", action=_Once, help="all (default), log (24, even in log step), or e.g. 0,512,1000")
    measure.add_argument("--last", action="store_true", help="only the last checkpoint")
    measure.add_argument(
        "--probe", action=_Once,
        help="the input: a text file (.txt), token ids (.npy), or random (default: the shipped text)",
    )  # fmt: skip
    measure.add_argument("--sequences", action=_Once, type=int, help="sequences (default: 10)")
    measure.add_argument("--length", action=_Once, type=int, help="tokens per sequence (default: at most 1,024)")
    measure.add_argument("--layers", action=_Once, help="layers in the table, e.g. 0,3-5,last (default: all)")
    measure.add_argument("--dtype", action=_Once, help="float32 (default), float16 or bfloat16")
    measure.add_argument("--device", action=_Once, help="auto (default), cpu or cuda")
    measure.add_argument("--fit", action=_Once, help="the form to fit (default: eq9)")
    measure.add_argument("--name", action=_Once, help="the model's name in tables (default: the folder's name)")
    measure.add_argument("--out", action=_Once, default=own.RESULTS, help=f"results (default: {own.RESULTS})")
    measure.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
        help="any other setting of massact run, e.g. fit.resamples=0; may be repeated",
    )  # fmt: skip


def _whole_numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a list of whole numbers such as 512,2048") from None


def _layers(text: str) -> list[int] | str:
    return ALL if text == ALL else _whole_numbers(text)


if __name__ == "__main__":
    sys.exit(main())
