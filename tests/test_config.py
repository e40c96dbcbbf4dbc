"""The package's own classes are the configuration: composed, overridden, checked and frozen."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from massact.architecture import Architecture
from massact.errors import ConfigError
from massact.extract.options import SweepOptions
from massact.preflight import preflight
from massact.recipe import Optimiser, Recipe
from massact.space import DesignSpace

CONF = Path(__file__).parents[1] / "conf"


def composed(*overrides: str):
    (config,) = preflight(overrides, CONF, multirun=False)
    return config


def test_a_configuration_holds_the_package_s_own_objects():
    config = composed("suite=micro", "sweep.prefetch=3", "model.architecture.d_mlp=640")
    assert config.model.architecture == Architecture(
        n_layers=3, d_model=128, n_heads=4, d_mlp=640, vocab_size=512, context=32
    )
    assert isinstance(config.model.recipe, Recipe)
    assert config.suite.recipe.training == Optimiser(
        learning_rate=0.007,
        warmup=32,
        final_fraction=0.1,
        weight_decay=1.0,
        beta1=0.9,
        beta2=0.95,
        epsilon=1e-8,
        clip=1.0,
    )
    assert config.sweep == SweepOptions(prefetch=3)
    assert config.suite.space == DesignSpace(
        layers=(4, 16), width=(128, 512), heads=(1, 16), mlp_ratio=(2.0, 8.0), width_multiple=64
    )


def test_its_objects_are_frozen_and_are_keys():
    config = composed()
    for held, name in (
        (config.model.architecture, "n_layers"),
        (config.suite.space, "layers"),
        (config.sweep, "prefetch"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(held, name, 1)
        assert {held: 1}[held] == 1


def test_a_family_trained_elsewhere_has_no_optimiser():
    recipe = composed("model=pythia-70m").model.recipe
    assert (recipe.optimiser, recipe.vocab_size, recipe.first_token) == (None, None, None)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("suite.space.layers=[1,2,3]", "suite.space.layers = [1, 2, 3]; give [smallest, largest]"),
        ("suite.space.width=[192,48]", "not a range"),
        ("model.architecture.n_heads=5", "n_heads = 5 does not divide d_model = 128"),
        ("model.architecture.n_head=4", "nearest: model.architecture.n_heads"),
        ("sweep.suspects=true", "sweep.suspects is not a setting"),
        ("sweep.progress=false", "sweep.progress is not a setting"),
    ],
)
def test_what_they_refuse_is_one_line(override, words):
    with pytest.raises(ConfigError) as caught:
        composed(override)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
