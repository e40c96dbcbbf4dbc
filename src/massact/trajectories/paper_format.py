"""The format of the paper's published measurements: nested lists as printed by numpy, some without commas.

A file is one checkpoint: `[sequence, sequence, ...]`. A sequence is `[top1, top2, top3, median]`. Each of these is a
list with one magnitude per layer. White space may stand anywhere between tokens. Numbers may be in scientific notation.
The comma between two SEQUENCES may be missing, but not one between rows or numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NoReturn

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from massact.errors import ParseError

STATISTICS = ("top1", "top2", "top3", "median")
_LONGEST_NUMBER = 64  # numpy prints at most 24 characters; reading a float of n digits takes n^2
_REMEDY = "download the file again from the dataset, or leave this checkpoint out"
# White space, then one token. Words (nan, inf, ...), other visible characters and the end are tokens, so that messages
# can name them. The quantifier for white space is possessive (*+) and a token always follows, so that a long run of
# white space is read once, not again from each of its characters.
_TOKEN = re.compile(
    r"[ \t\r\n]*+(?:(?P<mark>[\[\],])|(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<word>[+-]?[A-Za-z_]+)|(?P<other>[^ \t\r\n])|(?P<end>\Z))"
)


def parse_stats(text: str) -> Float[ndarray, "sequence statistic layer"]:
    """Read one published statistics file.

    Parameters
    ----------
    text
        Content of `exp2_pythia_<size>_step<N>`.

    Returns
    -------
    ndarray of shape (sequence, statistic, layer)
        float64, unitless; statistic: top1, top2, top3, median of |block output|.

    Raises
    ------
    ParseError
        When the text is not one or more sequences of exactly four equally long rows of finite numbers with
        top1 >= top2 >= top3 >= median >= 0. The message names line, sequence, row or layer.

    >>> parse_stats("[[[9., 8],[2,1.5 ],[2,1],[1e-1,0]] [[9,8],[2,1],[2,1],[.1,0]]]").shape
    (2, 4, 2)
    """
    reader = _Reader(text)
    rows: list[list[float]] = []
    starts: list[int] = []
    reader.mark("[", "the list of sequences")
    reader.mark("[", "sequence 0")
    while True:
        _read_sequence(reader, rows, starts)
        mark = reader.mark(",[]", "a comma, a sequence or the end")
        if mark == "]":
            break
        if mark == ",":
            reader.mark("[", f"sequence {len(rows) // len(STATISTICS)}")
    reader.end()
    values = np.array(rows, dtype=np.float64).reshape(-1, len(STATISTICS), len(rows[0]))
    _check_order(values, reader, starts)
    return values


def _read_sequence(reader: _Reader, rows: list[list[float]], starts: list[int]) -> None:
    """Read four rows and the closing bracket. The opening bracket has been read."""
    sequence = len(rows) // len(STATISTICS)
    for index, statistic in enumerate(STATISTICS):
        where = f"sequence {sequence}, {statistic}"
        if index and reader.mark(",]", f"a comma before {where}") == "]":
            reader.fail(f"sequence {sequence} has {index} rows, not {len(STATISTICS)}")
        reader.mark("[", where)
        starts.append(reader.at)
        rows.append(_read_row(reader, where))
        if len(rows[-1]) != len(rows[0]):
            reader.fail(f"{where} has {len(rows[-1])} layers, the first row {len(rows[0])}")
    if reader.mark(",]", f"the end of sequence {sequence}") == ",":
        reader.fail(f"sequence {sequence} has more than {len(STATISTICS)} rows")


def _read_row(reader: _Reader, where: str) -> list[float]:
    row = [reader.number(where)]
    while reader.mark(",]", f"a comma or the end of {where}") == ",":
        row.append(reader.number(where))
    return row


def _check_order(values: Float[ndarray, "sequence statistic layer"], reader: _Reader, starts: list[int]) -> None:
    """Check that top1 >= top2 >= top3 >= median >= 0 for every sequence and layer."""
    below = np.concatenate([values[:, 1:], np.zeros_like(values[:, :1])], axis=1)
    wrong = np.argwhere(values < below)
    if len(wrong):
        sequence, statistic, layer = (int(i) for i in wrong[0])
        names = (*STATISTICS, "0")
        reader.at = starts[sequence * len(STATISTICS) + statistic]
        reader.fail(f"sequence {sequence}, layer {layer}: {names[statistic]} < {names[statistic + 1]}")


class _Reader:
    """The tokens of a text, one at a time. `at` is the position of the last one, in characters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._tokens: Iterator[re.Match[str]] = _TOKEN.finditer(text)

    def mark(self, marks: str, what: str) -> str:
        """Read one of these marks, or fail with a message that `what` is expected."""
        kind, token = self._next(what)
        if kind != "mark" or token not in marks:
            self.fail(f"{what} expected, {_shown(token)} found")
        return token

    def number(self, where: str) -> float:
        """Read one finite number."""
        kind, token = self._next(f"a number of {where}")
        if kind != "number":
            self.fail(f"{where}: a finite number expected, {_shown(token)} found")
        if len(token) > _LONGEST_NUMBER:
            self.fail(f"{where}: {_shown(token)} has {len(token)} characters")
        value = float(token)
        if not math.isfinite(value):
            self.fail(f"{where}: {_shown(token)} is not finite in float64")
        return value

    def end(self) -> None:
        """Check that nothing but white space follows."""
        kind, token = self._token()
        if kind != "end":
            self.fail(f"{_shown(token)} found after the end of the list")

    def fail(self, what: str) -> NoReturn:
        """Raise an error with the line of `at`, counted from 1."""
        raise ParseError(f"line {self.text.count(chr(10), 0, self.at) + 1}: {what}", _REMEDY)

    def _next(self, what: str) -> tuple[str, str]:
        kind, token = self._token()
        if kind == "end":
            self.fail(f"the text ends where {what} is expected" if self.text.strip() else "the text is empty")
        return kind, token

    def _token(self) -> tuple[str, str]:
        match = next(self._tokens)
        kind = match.lastgroup or ""
        self.at = match.start(kind)
        return kind, match[kind]


def _shown(token: str) -> str:
    return repr(token if len(token) <= 20 else f"{token[:17]}...")
