"""The examples of CONTRIBUTING.md are the files that the tests run."""

from __future__ import annotations

import re

import pytest

from tests.contributing import EXAMPLES, ROOT, TEXT, code_blocks

FILES = {
    path: path.read_text(encoding="utf-8") for path in EXAMPLES.rglob("*.*") if path.suffix in (".py", ".yaml", ".toml")
}
DOORS = ("form", "statistic", "regressor", "model suite", "stage")


@pytest.mark.parametrize("block", code_blocks())
def test_every_code_block_is_the_text_of_an_example(block):
    assert any(block in text for text in FILES.values()), block


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_example_is_named(path):
    assert path.relative_to(ROOT).as_posix() in TEXT


@pytest.mark.parametrize("door", DOORS)
def test_every_door_names_a_test_that_is_there(door):
    section = TEXT.split(f"## Add a {door}\n")[1].split("\n## ")[0]
    tests = re.findall(r"tests/[\w/]+\.py", section)
    assert tests
    assert all((ROOT / test).is_file() for test in tests)
