"""The published format: facts, round trips, and only ParseError for anything else."""

from __future__ import annotations

import importlib.util
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massact.errors import ParseError
from massact.trajectories import paper_format
from massact.trajectories.paper_format import STATISTICS, parse_stats
from tests.trajectories.slow_reader import RefusedError, read_slowly
from tests.trajectories.writing import FOLDER, written

LAYERS = {"14m": 6, "160m": 12, "1b": 16}
WHOLE = sorted(p for p in FOLDER.glob("exp2_*") if "_12b_" not in p.name)
MUTATIONS = 12_000
GOOD = (FOLDER / "exp2_pythia_14m_step2").read_text()


@pytest.mark.parametrize("path", WHOLE, ids=lambda p: p.name)
def test_every_excerpt_reads_with_its_models_layers(path):
    values = parse_stats(path.read_text())
    assert values.shape[1:] == (4, LAYERS[path.name.split("_")[2]])
    assert 1 <= len(values) <= 3
    assert values.dtype == np.float64
    assert (values[:, 0] >= values[:, 1]).all()


@pytest.mark.parametrize("step", [2000, 36000])
def test_an_excerpt_of_two_rows_is_refused(step):
    with pytest.raises(ParseError, match=r"line 2: sequence 0 has 2 rows, not 4"):
        parse_stats((FOLDER / f"exp2_pythia_12b_step{step}").read_text())


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("14m_step0", (0, "top1", 0), 1.25000238),
        ("14m_step0", (2, "median", 5), 0.44497871),
        ("160m_step8000", (0, "top1", 7), 234.77282715),
        ("160m_step8000", (0, "median", 11), 1.47164464),
        ("1b_step512", (0, "top3", 15), 3.68595409),
    ],
)
def test_known_values(name, index, value):
    sequence, statistic, layer = index
    read = parse_stats((FOLDER / f"exp2_pythia_{name}").read_text())
    assert read[sequence, STATISTICS.index(statistic), layer] == value


@pytest.mark.parametrize(
    "text",
    [
        "[[[9,8],[2,2],[2,1],[1,0]],[[9,8],[2,2],[2,1],[1,0]]]",
        "[[[9,8],[2,2],[2,1],[1,0]]\n[[9,8],[2,2],[2,1],[1,0]]]\n",
        "[[[9,8],[2,2],[2,1],[1,0]],[[9,8],[2,2],[2,1],[1,0]]]",
        " [ [ [  9. ,\r\n 8 ] ,\n[2.000e+00,20.E-1], [ 2, 1] ,[.1e1 , 0. ] ]\t[[9,8],[+2,2],[2,1],[1,-0.0]] ] ",
    ],
)
def test_the_quirks(text):
    assert parse_stats(text).tolist() == [[[9, 8], [2, 2], [2, 1], [1, 0]]] * 2


magnitudes = st.floats(0, 1e6, allow_nan=False)


@given(data=st.data(), n=st.integers(1, 4), layers=st.integers(1, 7), seed=st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_round_trip_is_exact(data, n, layers, seed):
    flat = data.draw(st.lists(magnitudes, min_size=4 * n * layers, max_size=4 * n * layers))
    values = -np.sort(-np.array(flat).reshape(n, 4, layers), axis=1)
    assert np.array_equal(parse_stats(written(values, rng=random.Random(seed), precision=None)), values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("[]", "sequence 0 expected"),
        ("[[]]", "sequence 0, top1 expected"),
        ("[[[]]]", "finite number expected, ']'"),
        ("[[[1],[1],[1]]]", "3 rows, not 4"),
        ("[[[1],[1],[1],[1],[1]]]", "more than 4 rows"),
        ("[[[1,2],[1,1],[1],[1,0]]]", "top3 has 1 layers, the first row 2"),
        ("[[[1],[1],[1],[1]],[[1,2],[1,2],[1,2],[1,1]]]", "sequence 1, top1 has 2 layers"),
        ("[[[1],[1],[nan],[1]]]", "'nan' found"),
        ("[[[inf],[1],[1],[1]]]", "'inf' found"),
        ("[[[1e999],[1],[1],[1]]]", "not finite"),
        ("[[[1],[2],[1],[1]]]", "layer 0: top1 < top2"),
        ("[[[3],[2],[1],\n[2]]]", "line 1: sequence 0, layer 0: top3 < median"),
        ("[[[3],\n[2],\n[1],\n[-1]]]", "line 4: sequence 0, layer 0: median < 0"),
        ("[[[1,1],[1 1],[1,1],[1,1]]]", "a comma or the end of sequence 0, top2 expected, '1' found"),
        ("[[[1,],[1],[1],[1]]]", "number expected, ']'"),
        ("[[[1],[1],[1],[1]],]", "sequence 1 expected, ']'"),
        ("[[[1][1],[1],[1]]]", "comma before sequence 0, top2"),
        ("[[[1],[1],[1],[1]]", "text ends"),
        ("[[[1],[1],[1],[1]]]]", "after the end"),
        ("[[[1],[1],[1],[1]]][[[1],[1],[1],[1]]]", "after the end"),
        ("[[[1.2.3],[1],[1],[1]]]", "'.3' found"),
        ("[[[1_0],[1],[1],[1]]]", "'_' found"),
        ("[[[1, ..., 2]]]", "'.' found"),
        ("[[[\u0661],[1],[1],[1]]]", "found"),
        ("[[[__import__('os')]]]", "'__import__' found"),
        ("\x00", "found"),
    ],
)
def test_anything_else_says_where_and_what(text, words):
    with pytest.raises(ParseError) as caught:
        parse_stats(text)
    assert words in caught.value.what
    assert caught.value.what.startswith("line ")
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def bases() -> list[str]:
    """Texts to spoil: real ones, and small ones with every quirk, of which a mutation is more often still valid."""
    rng = random.Random(0)
    small = [-np.sort(-np.random.default_rng(n).lognormal(size=(n, 4, 2)), axis=1) for n in (1, 1, 2, 3)]
    texts = [written(values.round(3), rng=rng, precision=p) for values in small for p in (None, 2)]
    return [GOOD, (FOLDER / "exp2_pythia_160m_step16").read_text(), *texts * 3]


def mutated(text: str, rng: random.Random) -> str:
    """One to four places cut, filled, changed, doubled, or exchanged with another."""
    alphabet = "[],.0123456789eE+- \n\tnaif\x00\u00e9_\u0661\u00a0"
    for _ in range(rng.randint(1, 4)):
        at, end = sorted(rng.randrange(len(text) + 1) for _ in range(2)) if text else (0, 0)
        near = min(end, at + rng.choice([1, 1, 1, 2, 8, 40]))
        match rng.randrange(6):
            case 0:
                text = text[:at] + text[near:]
            case 1:
                text = text[:at] + rng.choice(alphabet) + text[at:]
            case 2:
                text = text[:at] + rng.choice(alphabet) + text[at + 1 :]
            case 3:
                text = text[:near] + text[at:near] + text[near:]
            case 4:
                text = text[:at] + text[end:] + text[at:end]
            case _:
                text = text[:at] + rng.choice(["]", "[", "]][[", "],[", ",", "1e999", "-0.", "nan"]) + text[near:]
    return text


def agree(text: str) -> bool:
    """Whether `parse_stats` takes the text; it does where the slow reader does, and reads the same numbers."""
    try:
        expected = np.array(read_slowly(text), dtype=np.float64)
    except RefusedError:
        expected = None
    try:
        values = parse_stats(text)
    except ParseError as error:
        assert expected is None, text
        assert error.what.startswith("line ")
        return False
    assert expected is not None, text
    assert values.shape == expected.shape
    assert (values == expected).all()
    return True


def test_ten_thousand_mutations_are_refused_or_read_right():
    rng, texts = random.Random(0), bases()
    taken = sum(agree(mutated(rng.choice(texts), rng)) for _ in range(MUTATIONS))
    assert MUTATIONS / 20 < taken < MUTATIONS / 2


@given(st.text(alphabet="[],.019e+-n \n", max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused(text):
    agree(text)


@given(n=st.integers(1, 2), layers=st.integers(1, 2), data=st.data())
@settings(max_examples=200, deadline=None)
def test_any_words_are_read_or_refused(n, layers, data):
    words = ["[", "]", ",", "[[", "]]", "0", "1.", ".5", "2e0", "+1", "-0.0", " ", "\n"]
    text = "[" + "".join("[" + ",".join(["[" + ",".join("1" * layers) + "]"] * 4) + "]" for _ in range(n)) + "]"
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.sampled_from(words)) + text[at + data.draw(st.integers(0, 2)) :]
    agree(text)


@pytest.fixture(scope="module")
def unchecked():
    """`parse_stats` as users run it: the checks of annotations that the tests add take most of the time otherwise."""
    spec = importlib.util.spec_from_file_location("unchecked_published", paper_format.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.parse_stats


@pytest.mark.parametrize("unit", ["[", "1", " ", "1,", "[[[1],[1],[1],[1]]", "1e", "\n"])
def test_long_input_takes_linear_time(unchecked, unit):
    began = time.perf_counter()
    with pytest.raises(ParseError):
        unchecked("[[[" + unit * (1_000_000 // len(unit)))
    assert time.perf_counter() - began < 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" " * 20_000_000, "line 1: the text is empty"),
        ("[[[1" + "\n" * 20_000_000, "line 20000001: the text ends where a comma or the end of sequence 0, top1"),
        ("[[[1]," + " \t\r\n" * 5_000_000 + "?", "line 5000001: sequence 0, top2 expected, '?' found"),
        ("[[[3],[2],[1],[0]]]" + "\n" * 20_000_000 + "]", "line 20000001: ']' found after the end"),
    ],
    ids=["nothing else", "up to the end", "between tokens", "after the list"],
)
def test_white_space_is_skipped_quickly(unchecked, text, message):
    began = time.perf_counter()
    with pytest.raises(ParseError) as caught:
        unchecked(text)
    assert time.perf_counter() - began < 1.5
    assert caught.value.what.startswith(message)


def test_many_sequences_take_linear_time(unchecked):
    one = "[[3,3],[2,2],[1,1],\n[0.5,0.25]]"
    began = time.perf_counter()
    assert unchecked("[" + one * 20_000 + "]").shape == (20_000, 4, 2)
    assert time.perf_counter() - began < 20
