import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massact.errors import ConfigError
from massact.train.design import (
    DesignSpace,
    best_seed,
    design,
    factors,
    largest_correlation,
    smallest_distance,
)

SPACE = DesignSpace(layers=(2, 8), width=(48, 192), heads=(1, 12), mlp_ratio=(2.0, 8.0))
SIZES = {"vocab_size": 512, "context": 32}


@given(seed=st.integers(0, 10_000), count=st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_every_architecture_is_valid_and_in_the_space(seed, count):
    architectures = design(SPACE, count, seed=seed, **SIZES)
    assert len(set(architectures)) == count
    for a in architectures:
        assert 2 <= a.n_layers <= 8
        assert 48 <= a.d_model <= 192
        assert a.d_model % 16 == 0
        assert 1 <= a.n_heads <= 12
        assert a.d_head % 8 == 0
        assert int(a.d_head * a.rotary_fraction) % 2 == 0
        assert 2 <= a.d_mlp / a.d_model <= 8.1
        assert a.rotary_fraction in (0.25, 1.0)


def test_a_longer_design_begins_with_the_shorter_one():
    assert design(SPACE, 64, seed=3, **SIZES)[:48] == design(SPACE, 48, seed=3, **SIZES)


def test_depth_and_choices_are_spread_evenly():
    columns = factors(design(SPACE, 64, seed=0, **SIZES))
    assert columns["n_layers"].value_counts().between(7, 12).all()
    assert abs(columns["parallel_residual"].mean() - 0.5) < 0.1
    assert abs((columns["rotary_fraction"] == 1).mean() - 0.5) < 0.1


def test_the_best_seed_is_the_one_whose_architectures_lie_farthest_apart():
    seed, correlation, distance = best_seed(SPACE, 48, seeds=range(148, 156))
    designs = {s: design(SPACE, 48, seed=s, **SIZES) for s in range(148, 156)}
    assert largest_correlation(designs[seed]) == correlation < 0.25
    allowed = {s: smallest_distance(a) for s, a in designs.items() if largest_correlation(a) < 0.25}
    assert distance == max(allowed.values()) == allowed[seed]
    with pytest.raises(ConfigError, match=r"below 0\.001"):
        best_seed(SPACE, 24, seeds=range(3), correlation=0.001)


def test_the_correlation_is_pearsons_over_what_varies():
    architectures = design(
        DesignSpace(layers=(4, 4), width=(48, 192), heads=(1, 12), mlp_ratio=(2.0, 8.0)), 24, seed=0, **SIZES
    )
    columns = factors(architectures).drop(columns="n_layers").to_numpy()
    between = np.corrcoef(columns, rowvar=False)
    assert np.isclose(largest_correlation(architectures), np.abs(between[np.triu_indices(5, 1)]).max())


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"layers": (8, 2)}, "not a range"),
        ({"width": (50, 60)}, "multiple of 16"),
        ({"width_multiple": 12}, "multiple of 8"),
        ({"rotary_fractions": ()}, "no choice"),
    ],
)
def test_an_invalid_space_is_refused(numbers, message):
    with pytest.raises(ConfigError, match=message):
        DesignSpace(**{"layers": (2, 8), "width": (48, 192), "heads": (1, 12), "mlp_ratio": (2.0, 8.0), **numbers})


def test_a_space_that_is_too_small_says_how_many_it_has():
    small = DesignSpace(
        layers=(2, 2),
        width=(48, 48),
        heads=(1, 1),
        mlp_ratio=(4.0, 4.0),
        rotary_fractions=(1.0,),
        parallel_residual=(True,),
    )
    with pytest.raises(ConfigError, match="has 1 architectures, 5 were requested"):
        design(small, 5, seed=0, **SIZES)
