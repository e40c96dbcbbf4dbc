"""The forecast artefact is checked against its stated purpose and its hash."""

from __future__ import annotations

import copy
import json
import os
import random

import pytest

from massact import Architecture
from massact.errors import MassactError, MissingInputError, ParseError
from massact.predict import forecast
from massact.predict.stored import learned_by_recipe, read_artefact, sealed, shipped_artefact

ARCHITECTURE = Architecture(n_layers=3, d_model=128, n_heads=4, d_mlp=512)


def recipes():
    return copy.deepcopy(shipped_artefact()["recipes"])


def changed(path, value):
    """The shipped artefact with one thing in it changed, its hash as it was."""
    artefact = copy.deepcopy(shipped_artefact())
    at = artefact
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    return artefact


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("version",), 99, "version 99; this massact reads version 3"),
        (("kind",), "massact fits", "not a forecast artefact"),
        (("sha256",), "0" * 64, "hash"),
        (("factors",), ["log2 L", "log2 d"], "hash"),
        (("recipes", "grid", "components", 0, 0), float("nan"), "not finite"),
        (("recipes", "grid", "components", 0, 0), 0.5, "hash"),
        (("recipes", "grid", "architectures"), 480, "hash"),
        (("recipes",), {}, "hash"),
    ],
)
def test_an_artefact_that_was_changed_is_refused(path, value, words):
    with pytest.raises(ParseError, match=words):
        forecast(ARCHITECTURE, artefact=changed(path, value))


@pytest.mark.parametrize("value", [{}, {"recipes": {}}, {"kind": "massact forecast"}])
def test_a_value_that_is_not_an_artefact_is_refused(value):
    with pytest.raises(ParseError, match=r"not a forecast artefact|without kind and hash|version None"):
        learned_by_recipe(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", []), ("steps", [0, 0, 5]), ("steps", [-1, 5]), ("steps", [0.5]), ("steps", "0"),
        ("architectures", 0), ("architectures", "48"), ("tokens_per_step", -1), ("tokens_per_step", True),
        ("centre", [0.0] * 5), ("centre", ["0"] * 6), ("centre", [True] + [0.0] * 5),
        ("spread", [0.0] * 6), ("spread", [-1.0] * 6), ("low", [9.0] * 6),
        ("mean", [0.0]), ("components", [[0.0] * 12]),
        ("x", [[0.0] * 5]), ("depth", [[0.5]]), ("processes", []), ("processes", None), ("processes", [{}] * 5),
        ("residuals", [[]] * 12), ("residuals", [[1.0] * 24]), ("training", [0]), ("design", ["0"]), ("parallel", [1]),
        ("ranges", {}), ("ranges", {"n_layers": [5, 2]}), ("choices", {}), ("unused", {}), ("unused", None),
    ],
)  # fmt: skip
def test_an_artefact_with_its_hash_but_an_impossible_part_is_never_made(name, value):
    content = recipes()
    content["grid"][name] = value
    with pytest.raises(ParseError, match="recipe grid"):
        sealed(content)
    del content["grid"][name]
    with pytest.raises(ParseError, match=f"recipe grid: '{name}' is missing"):
        sealed(content)


def test_the_layout_of_the_file_makes_no_difference(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps(shipped_artefact()))
    assert read_artefact(str(path)) == read_artefact(path) == shipped_artefact()
    table = forecast(ARCHITECTURE, artefact=path)
    assert table.equals(forecast(ARCHITECTURE))


def test_files_that_cannot_be_an_artefact_are_refused_at_once(tmp_path):
    with pytest.raises(MissingInputError, match=r"does not exist.*stage=predict"):
        read_artefact(tmp_path / "absent.json")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 10**9)
    for name, text in [("empty", ""), ("nan", '{"kind": NaN}'), ("deep", "[" * 100_000), ("digits", "1" * 10_000),
                       ("twice", '{"kind": 1, "kind": 2}'), ("latin", None)]:  # fmt: skip
        (tmp_path / name).write_bytes("ä".encode("latin-1") if text is None else text.encode())
    for name in ("fifo", "huge", "empty", "nan", "deep", "digits", "twice", "latin", "."):
        with pytest.raises(ParseError) as caught:
            read_artefact(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_flipped_bit_is_refused_or_makes_no_difference(tmp_path):
    content = json.dumps(shipped_artefact()).encode()
    expected, generator = shipped_artefact(), random.Random(0)
    path = tmp_path / "flipped.json"
    refused = 0
    for _ in range(60):
        at, bit = generator.randrange(len(content)), generator.randrange(8)
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
        try:
            assert read_artefact(path) == expected
        except MassactError:
            refused += 1
    assert refused > 50
