"""The baseline that copies the nearest architecture."""

from __future__ import annotations

import numpy as np

from massact.predict.nearest import NearestArchitecture


def test_the_layers_own_features_do_not_choose_the_architecture():
    """Architecture 1 is nearer. A layer of architecture 2 has the very depth, and must not be copied for that."""
    x = np.array([[0.25, 1.0], [0.75, 1.0], [0.5, 3.0], [1.0, 3.0]])
    y = np.array([10.0, 11.0, 20.0, 21.0])
    model = NearestArchitecture(layer=(0,)).fit(x, y)
    assert model.predict(np.array([[0.5, 1.4], [1.0, 1.9]])).tolist() == [10.5, 11.0]


def test_seeds_of_the_nearest_architecture_are_averaged():
    x = np.array([[0.5, 1.0], [0.5, 1.0], [0.5, 3.0]])
    assert NearestArchitecture(layer=(0,)).fit(x, np.array([1.0, 2.0, 9.0])).predict(x[:1]).tolist() == [1.5]
