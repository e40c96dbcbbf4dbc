"""Hostile arguments of `massact forecast`, and damaged artefacts: how many are refused or answered correctly.

    python benchmarks/faults_forecast.py --flips 2000

A trial holds when it ends with exit status 2 or 3, one line on stderr and nothing on stdout, or with exactly the
answer of the undamaged artefact. Anything else - a traceback, another answer, several lines, a wait of 10 s - is
printed and counted as fallen.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import math
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from massact.cli import main as massact
from massact.predict.stored import _hash, shipped_artefact

ARCHITECTURE = {"n_layers": "4", "d_model": "128", "n_heads": "4", "d_mlp": "512"}
OTHERS = ("vocab_size", "context", "rotary_fraction", "rotary_base", "parallel_residual")
# None of these is a value that a number of an architecture may have, whichever it is.
VALUES = (
    "", "nan", "inf", "-inf", "-1", "1e999", "1e23", "4.5e", "0x10", "four", "4,5", "4;5", "[4]", "{}", "None", "4 5",
    "4\n5", "\x00", "ä", "😀", "1" + "0" * 23, "9" * 5000, "-0.5", "$(id)", "../x", "=", "4=4",
)  # fmt: skip
OPTIONS = {
    "--steps": ("", "x", "-1", "1.5", "512,", "1e3", "9" * 5000, "nan", "512 2048"),
    "--level": ("", "x", "0", "1", "-1", "nan", "inf", "90", "1e-400"),
    "--layers": ("", "x", "-1", "4", "0.5", "9" * 5000, "al"),
    "--recipe": ("", "x", "GRID", "nano\n", "../nano", "9" * 5000),
    "--artefact": ("", "absent.json", ".", "/dev/null", "/dev/zero", "x" * 5000, "a\x00b"),
}


def hostile_words() -> Iterator[list[str]]:
    """Invalid command lines."""
    numbers = [f"{name}={value}" for name, value in ARCHITECTURE.items()]
    for name in (*ARCHITECTURE, *OTHERS):
        rest = [word for word in numbers if not word.startswith(f"{name}=")]
        for value in VALUES:
            yield ["forecast", *rest, f"{name}={value}"]
        value = ARCHITECTURE.get(name, "0.5")
        yield ["forecast", *rest, f"{name}={value}", f"{name}={value}"]
        yield ["forecast", *rest, f"{name[:-1]}={value}", *numbers]
    for name in ARCHITECTURE:
        yield ["forecast", *(word for word in numbers if not word.startswith(f"{name}="))]
    for option, values in OPTIONS.items():
        yield ["forecast", *numbers, option]
        for value in values:
            yield ["forecast", *numbers, f"{option}={value}"]
            yield ["forecast", *numbers, option, value]
            yield ["forecast", *numbers, option, value, option, value]
    yield from ([], ["forcast"], ["forecast"], ["forecast", "--stepps", "4"], ["", *numbers], ["x" * 5000])


def damaged_artefacts(shipped: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every number, list and name of every recipe damaged in turn, with the old hash and with a recomputed hash."""
    for recipe, name in [(recipe, name) for recipe, entry in shipped["recipes"].items() for name in entry]:
        for what, value in _damages(shipped["recipes"][recipe][name]):
            damaged = copy.deepcopy(shipped)
            if value is _MISSING:
                del damaged["recipes"][recipe][name]
            else:
                damaged["recipes"][recipe][name] = value
            yield f"{recipe}.{name} {what}", damaged
    for name in shipped:
        for value in (_MISSING, None, 99, "other", [], {}, math.nan):
            damaged = {key: old for key, old in shipped.items() if key != name}
            yield f"{name} {value}", damaged if value is _MISSING else {**damaged, name: value}
    for order in (sorted(shipped["factors"]), shipped["factors"][::-1], shipped["factors"][:-1]):
        yield "factors reordered", {**shipped, "factors": order}


_MISSING = object()


def _damages(value: Any) -> Iterator[tuple[str, Any]]:
    """Invalid forms of a value."""
    yield from (("missing", _MISSING), ("null", None), ("text", "x"), ("empty", []), ("object", {}))
    if isinstance(value, dict):
        for key in value:
            yield f"without {key}", {other: kept for other, kept in value.items() if other != key}
        return
    if isinstance(value, list):
        yield "shorter", value[:-1]
        yield "one more", [*value, value[-1]]
    for bad in (math.nan, math.inf, -math.inf, "0", True):
        yield f"with {bad!r}", _with(value, bad)


def _with(value: Any, bad: Any) -> Any:
    """The first number of nested lists replaced."""
    return [_with(value[0], bad), *value[1:]] if isinstance(value, list) else bad


def outcome(words: Sequence[str]) -> tuple[str, str]:
    """`refused`, `answered` or `fallen`, with what was written."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = massact(words)
    except BaseException as error:  # what a user would see as a traceback
        return "fallen", f"{type(error).__name__}: {error}"
    if code == 0 and not err.getvalue():
        return "answered", out.getvalue()
    one_line = code in (2, 3) and err.getvalue().count("\n") == 1 and not out.getvalue()
    return ("refused" if one_line and len(err.getvalue()) < 500 else "fallen"), err.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    counts: dict[str, Counter[str]] = {}

    def count(kind: str, how: str, said: str, what: str) -> None:
        counts.setdefault(kind, Counter())[how] += 1
        if how == "fallen":
            print(f"fell: {kind}: {what[:150]!r}: {said[:200]!r}")

    for words in hostile_words():
        began = time.perf_counter()
        how, said = outcome(words)
        slow = time.perf_counter() - began > 10
        count("words", "fallen" if slow or how == "answered" else how, said, " ".join(words))
    shipped = shipped_artefact()
    numbers = [f"{name}={value}" for name, value in ARCHITECTURE.items()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "artefact.json"
        words = ["forecast", *numbers, "--artefact", str(path), "--csv"]
        right = outcome(["forecast", *numbers, "--csv"])[1]
        for what, damaged in damaged_artefacts(shipped):
            path.write_text(json.dumps(damaged), encoding="utf-8")
            count("fields", *_held(*outcome(words), right), what)
            content = {name: value for name, value in damaged.items() if name != "sha256"}
            with contextlib.suppress(Exception):  # no hash can be made of NaN
                path.write_text(json.dumps({**content, "sha256": _hash(content, "", "")}), encoding="utf-8")
                count("fields, hash recomputed", *_held(*outcome(words), right), what)
        content, generator = json.dumps(shipped, indent=1, sort_keys=True).encode(), random.Random(args.seed)
        for _ in range(args.flips):
            at, bit = generator.randrange(len(content)), generator.randrange(8)
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
            count("flipped bits", *_held(*outcome(words), right), f"byte {at}, bit {bit}")
    for kind, found in counts.items():
        tried = sum(found.values())
        print(f"{kind}: tried {tried}, held {tried - found['fallen']} ({dict(found)})")


def _held(how: str, said: str, right: str) -> tuple[str, str]:
    """An answer holds when it is the undamaged artefact's to the last digit."""
    return ("fallen" if how == "answered" and said != right else how), said


if __name__ == "__main__":
    main()
