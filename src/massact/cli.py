"""The console script: `massact forecast n_layers=24 d_model=1024 n_heads=16 d_mlp=4096`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from massact import __version__
from massact.architecture import Architecture
from massact.errors import ConfigError, MassactError

_NEEDED = ("n_layers", "d_model", "n_heads", "d_mlp")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; a user's error is one line and exit status 2."""
    arguments = _parser().parse_args(argv)
    try:
        sys.stdout.write(arguments.answer(arguments) + "\n")
    except MassactError as error:
        sys.stderr.write(f"massact: {error}\n")
        return error.exit_code
    return 0


def forecast_text(arguments: argparse.Namespace) -> str:
    """The forecast as a plain table: one line a layer and step."""
    from massact.predict import forecast

    architecture = architecture_from(arguments.numbers)
    table = forecast(architecture, recipe=arguments.recipe, steps=arguments.steps, level=arguments.level)
    rounded = table.round({"value": 2, "lower": 2, "upper": 2})
    lines = [
        f"Largest |h| over median |h|, {architecture.n_parameters:,} parameters, {arguments.level:.0%} intervals",
        rounded.to_string(index=False),
    ]
    caution = table.attrs.get("caution")
    return "\n".join([*lines, f"Caution: {caution}"] if caution else lines)


def summary_text(arguments: argparse.Namespace) -> str:
    """Headline numbers of the last report, where it is, and how far its tables are from the committed ones."""
    from massact.compare import differences_from_committed
    from massact.errors import MissingInputError

    results = Path(arguments.results)
    headline = results / "headline.txt"
    if not headline.is_file():
        raise MissingInputError(f"{headline} is not there", "make it with: dvc repro")
    lines = headline.read_text(encoding="utf-8").splitlines()
    try:
        worst = max(differences_from_committed(Path.cwd()), key=lambda difference: difference.relative)
        at = f" ({worst.path}, {worst.where})" if worst.where else ""
        lines.append(f"largest relative difference from the committed tables: {worst.relative:.2g}{at}")
    except MissingInputError as error:
        lines.append(str(error))
    return "\n".join([*lines, f"report: {(results / 'report.html').resolve()}"])


def architecture_from(pairs: Sequence[str]) -> Architecture:
    """An architecture from `name=number` words.

    Raises
    ------
    ConfigError
        A word without '=', an unknown name, a value that is no number, or one of the four needed numbers missing.
    """
    import difflib

    kinds: dict[str, Any] = {field.name: field.type for field in fields(Architecture)}
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"'{pair}' is not name=number", "e.g. n_layers=24")
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=3, cutoff=0.3) or list(kinds)
            raise ConfigError(f"{name} is not a number of an architecture", f"nearest: {', '.join(near)}")
        values[name] = _number(name, text, str(kinds[name]))
    missing = [name for name in _NEEDED if name not in values]
    if missing:
        raise ConfigError(f"{', '.join(missing)} not given", "e.g. n_layers=24 d_model=1024 n_heads=16 d_mlp=4096")
    return Architecture(**values)


def _number(name: str, text: str, kind: str) -> int | float | bool:
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        return int(text) if kind == "int" else float(text)
    except (KeyError, ValueError):
        raise ConfigError(f"{name} = {text} is not {'true or false' if kind == 'bool' else 'a number'}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="massact", description="Massive activations: forecasts and results.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    forecast = commands.add_parser(
        "forecast", help="how the ratio of an architecture will grow, with intervals, from its numbers alone"
    )
    forecast.add_argument("numbers", nargs="+", metavar="name=number", help="e.g. n_layers=24 d_model=1024")
    forecast.add_argument("--recipe", default="nano", help="training recipe (default: nano)")
    forecast.add_argument("--steps", type=_steps, default=None, help="steps to answer for, e.g. 512,2048")
    forecast.add_argument("--level", type=float, default=0.9, help="share of futures inside (default: 0.9)")
    forecast.set_defaults(answer=forecast_text)
    summary = commands.add_parser("summary", help="what the pipeline found, and where its report is")
    summary.add_argument("--results", default="results", help="the pipeline's results folder (default: results)")
    summary.set_defaults(answer=summary_text)
    return parser


def _steps(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of steps such as 512,2048") from None


if __name__ == "__main__":
    sys.exit(main())
