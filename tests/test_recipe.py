from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from massact.errors import ConfigError
from massact.recipe import Optimiser, Recipe, checkpoint_steps

RECIPE = Recipe(
    name="r",
    steps=100,
    batch=4,
    window=8,
    optimiser=Optimiser(
        learning_rate=1.0,
        warmup=10,
        final_fraction=0.1,
        weight_decay=0.1,
        beta1=0.9,
        beta2=0.95,
        epsilon=1e-8,
        clip=1.0,
    ),
    vocab_size=300,
    checkpoints=10,
)


def varied(recipe: Recipe, **numbers) -> Recipe:
    """The recipe with other numbers, those of its optimiser too."""
    return Recipe.of_dict({**recipe.as_dict(), **numbers})


def test_the_numbers_of_a_recipe_are_one_mapping_and_back():
    assert Recipe.of_dict(RECIPE.as_dict()) == RECIPE
    assert varied(RECIPE, clip=2.0).training.clip == 2.0
    with pytest.raises(TypeError):
        varied(RECIPE, clop=2.0)


def test_a_recipe_of_models_trained_elsewhere_trains_nothing():
    pythia = replace(RECIPE, name="pythia", optimiser=None, vocab_size=None)
    assert pythia.tokens_per_step == 32
    for of in (lambda: pythia.training, lambda: pythia.vocabulary, pythia.as_dict):
        with pytest.raises(ConfigError, match="trained elsewhere"):
            of()


def test_learning_rate_warms_up_and_ends_at_its_final_fraction():
    assert RECIPE.learning_rate_at(0) == pytest.approx(0.1)
    assert RECIPE.learning_rate_at(9) == pytest.approx(1.0)
    assert RECIPE.learning_rate_at(100) == pytest.approx(0.1)
    rates = [RECIPE.learning_rate_at(step) for step in range(10, 101)]
    assert rates == sorted(rates, reverse=True)


@given(steps=st.integers(1, 200_000), count=st.integers(1, 60))
def test_checkpoints_begin_at_zero_end_at_the_end_and_ascend(steps, count):
    chosen = checkpoint_steps(steps, count)
    assert chosen[0] == 0
    assert chosen[-1] == steps
    assert all(a < b for a, b in pairwise(chosen))


@pytest.mark.parametrize("change", [{"steps": 0}, {"window": 1}, {"vocab_size": 256}])
def test_recipes_that_cannot_train_are_refused(change):
    with pytest.raises(ConfigError):
        replace(RECIPE, **change)
