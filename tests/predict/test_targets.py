import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from massact.predict.targets import NoTransform, SignedLog, YeoJohnson, scale_of

values = hnp.arrays(np.float64, st.integers(5, 30), elements=st.floats(-1e12, 1e12, allow_subnormal=False))


@given(values)
def test_signed_log_returns_what_it_was_given(y):
    scale = SignedLog()
    assert np.allclose(scale.inverse(scale.forward(y)), y, rtol=1e-9, atol=1e-9)


@given(values, hnp.arrays(np.float64, 4, elements=st.floats(-1e6, 1e6)))
def test_every_inverse_is_finite(y, z):
    for scale in (SignedLog(), NoTransform(), YeoJohnson()):
        scale.fit(y)
        assert np.isfinite(scale.inverse(z)).all()


def test_yeo_johnson_returns_what_it_was_given():
    y = np.random.default_rng(0).lognormal(3, 1, 50)
    scale = YeoJohnson()
    scale.fit(y)
    assert np.allclose(scale.inverse(scale.forward(y)), y, rtol=1e-6)
    assert scale.forward(y).std() == pytest.approx(1, rel=1e-6)


def test_the_papers_scales():
    assert isinstance(scale_of("K"), YeoJohnson)
    assert isinstance(scale_of("gamma"), SignedLog)
    assert isinstance(scale_of("decay_share"), NoTransform)
