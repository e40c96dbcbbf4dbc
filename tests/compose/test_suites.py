"""Which models the published suites have, and what is answered to one that they do not have."""

from __future__ import annotations

import pytest

from massact.compose.suites import members, suites
from massact.errors import ConfigError
from massact.preflight import preflight
from massact.settings import table_stem
from tests.suites import CONF


def test_suites_are_the_files_of_models_on_the_hub():
    names = suites(CONF)
    assert {"pythia-70m", "olmo-1b", "pico", "datadecide"} <= set(names)
    assert not {"hub", "folder", "pocket-a"} & set(names)


def test_every_choice_is_a_model_of_its_own():
    models = list(members(["pico", "pythia-31m", "pythia-160m-data-seed"], CONF))
    assert [m.naming.branch for m in models if m.family == "pico"] == [
        f"pico-decoder-{size}-1" for size in ("tiny", "small", "medium", "large")
    ]
    stems = [table_stem(model) for model in models]
    assert len(stems) == len(set(stems)) == 4 + 10 + 3
    assert {"pythia-31m-seed9", "pythia-160m-data-seed3"} <= set(stems)


def test_datadecide_is_one_file_for_350_models():
    (config,) = preflight(["model=datadecide", "model.corpus=falcon", "model.size=4M"], CONF, multirun=False)
    assert config.model.repository == "allenai/DataDecide-falcon-4M"
    assert len(config.model.choices["corpus"]) * len(config.model.choices["size"]) == 350


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["model=bloom", "model.size=2b"], r"model\.size = 2b is not published; choose one of 560m"),
        (["model=pythia-160m-data-seed", "model.seed=4"], r"model\.seed = 4 is not published"),
        (["model=lucie-7b", "model.naming.refs=folders"], "does not go with model.source = hub"),
        (["model=lucie-7b", "model.naming.axis=words"], "has no group words"),
        (["model=tinyllama", "model.naming.axis=tokens"], "model.recipe counts steps, tinyllama counts tokens"),
    ],
)
def test_what_a_suite_does_not_have_is_one_line(words, match):
    with pytest.raises(ConfigError, match=match) as caught:
        preflight(words, CONF, multirun=False)
    assert "\n" not in str(caught.value)
