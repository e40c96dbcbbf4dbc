from pathlib import Path

import pytest

from massact.errors import ConfigError, MissingInputError
from massact.params import load_params

ROOT = Path(__file__).parents[1]
GOOD = (ROOT / "params.yaml").read_text(encoding="utf-8")


def test_the_shipped_file_is_read():
    params = load_params(ROOT / "params.yaml")
    assert params.models[0] == "pocket-a"
    assert params.forms == ("eq9", "eq14", "step1", "step2")
    assert params.seeds == (0,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("forms: [eq9,", "forms: [eq10,"), "eq10"),
        (GOOD.replace("quantities: [ratio,", "quantities: [ration,"), "ration"),
        (GOOD.replace("seeds: [0]", "seeds: 0"), "list"),
        (GOOD.replace("seeds: [0]", "seeds: []"), "list"),
        (GOOD.replace("seeds: [0]", ""), "seeds"),
        (GOOD + "epochs: [1]\n", "epochs"),
        (GOOD.replace("suites: [nano]", "suites: [../nano]"), "cannot name a file"),
        (GOOD.replace("models: [pocket-a,", "models: [/pocket-a,"), "cannot name a file"),
        (GOOD.replace("suites: [nano]", "suites: ['${HOME}']"), r"suites = '\$\{HOME\}' cannot name a file"),
        (GOOD.replace("seeds: [0]", "seeds: [-1]"), "whole numbers"),
        ("- a\n- b\n", "mapping"),
        ("models: [a", "params.yaml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, words):
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load_params(tmp_path / "params.yaml")


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(MissingInputError, match="project's folder"):
        load_params(tmp_path / "params.yaml")
