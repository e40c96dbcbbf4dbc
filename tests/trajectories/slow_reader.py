"""An independent, slow reader of the published format, to check `parse_stats` against."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

LONGEST_NUMBER = 64
_MARKS = "[],"
_NUMBER = set("+-.0123456789eE")


class RefusedError(Exception):
    """The text is not in the format."""


def read_slowly(text: str) -> list[list[list[float]]]:
    """[sequence][statistic][layer], or RefusedError."""
    for mark in _MARKS:
        text = text.replace(mark, f" {mark} ")
    for blank in "\t\r\n":
        text = text.replace(blank, " ")
    words = [word for word in text.split(" ") if word]
    whole = _with_commas(words)
    tree, rest = _tree(whole)
    if rest:
        raise RefusedError("something follows")
    return _checked(tree)


def _with_commas(words: list[str]) -> list[str]:
    """The comma that may be missing between sequences, put there: at depth 1, between `]` and `[`."""
    out: list[str] = []
    depth = 0
    for word in words:
        if word == "[" and depth == 1 and out[-1] == "]":
            out.append(",")
        depth += {"[": 1, "]": -1}.get(word, 0)
        out.append(word)
    return out


def _tree(words: list[str]) -> tuple[Any, list[str]]:
    """A list or a number, and the words after it; without recursion, so that a thousand brackets do no harm."""
    stack: list[list[Any]] = [[]]
    may_begin = True  # whether an item may come next, or only a comma or an end
    for at, word in enumerate(words):
        if word == "[" and may_begin:
            stack.append([])
        elif word == "]" and (not may_begin) and len(stack) > 1:
            done = stack.pop()
            stack[-1].append(done)
        elif word == "," and not may_begin and len(stack) > 1:
            may_begin = True
            continue
        elif word not in _MARKS and may_begin:
            stack[-1].append(_number(word))
        else:
            raise RefusedError(f"{word} at {at}")
        may_begin = word == "["
        if len(stack) == 1:
            return stack[0][0], words[at + 1 :]
    raise RefusedError("the text ends")


def _number(word: str) -> float:
    """The float64 nearest to the exact value of the decimal."""
    if not set(word) <= _NUMBER or len(word) > LONGEST_NUMBER:
        raise RefusedError(word)
    try:
        exact = Decimal(word)
    except InvalidOperation:
        raise RefusedError(word) from None
    if exact.is_zero() or exact.adjusted() < -400:
        return 0.0
    if exact.adjusted() > 400:
        raise RefusedError(word)
    try:
        return float(Fraction(exact))
    except OverflowError:
        raise RefusedError(word) from None


def _checked(tree: Any) -> list[list[list[float]]]:
    """Four rows a sequence, all of one length, numbers in order."""
    if not isinstance(tree, list) or not tree:
        raise RefusedError("no sequences")
    lengths = set()
    for sequence in tree:
        if not isinstance(sequence, list) or len(sequence) != 4:
            raise RefusedError("not four rows")
        for row in sequence:
            if not isinstance(row, list) or not all(isinstance(value, float) for value in row):
                raise RefusedError("not a row")
            lengths.add(len(row))
        for top1, top2, top3, median in zip(*sequence, strict=False):
            if not top1 >= top2 >= top3 >= median >= 0:
                raise RefusedError("not in order")
    if len(lengths) != 1 or lengths == {0}:
        raise RefusedError("rows of different lengths")
    return tree
