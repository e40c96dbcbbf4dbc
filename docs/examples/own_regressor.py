"""A regressor of one's own: linear regression with Huber's loss. CONTRIBUTING.md says how to register it."""

from massact.predict import Regressor


def make_huber(seed, options):
    from sklearn.linear_model import HuberRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), HuberRegressor(**options))


HUBER = Regressor(name="huber", make=make_huber)
