import pytest

from massact.errors import ConfigError
from massact.predict.features import PAPER, architecture_groups, feature_matrix
from massact.predict.regressors import make_regressor
from tests.predict.synthetic import fits


def test_the_papers_ten_features_of_one_layer():
    table = fits([(4, 128, 2)])
    x, names = feature_matrix(table, "paper")
    assert len(names) == len(PAPER) == 10
    row = dict(zip(names, x[1], strict=True))
    assert row["l/L"] == 0.5
    assert row["(l/L)^3"] == 0.125
    assert row["H/d"] == 2 / 128
    assert row["d_mlp/d"] == 4
    assert row["d/L"] == 32
    assert row["l*L"] == 8
    assert feature_matrix(table, "both")[0].shape[1] == 17


def test_layers_of_one_architecture_are_one_group():
    assert len(set(architecture_groups(fits([(4, 128, 2), (2, 64, 2)])))) == 2


def test_unknown_choices_are_named():
    with pytest.raises(ConfigError, match="paper"):
        feature_matrix(fits([(2, 64, 2)]), "all")
    with pytest.raises(ConfigError, match="ridge"):
        make_regressor("rigde", 0)
    with pytest.raises(ConfigError, match="ridge"):
        make_regressor("ridge", 0, {"alfa": 1})
