"""A form from a file outside the package: fitted, selected and reported with nothing else changed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from massact.errors import FitError
from massact.fit import compare_forms, fit_many, fit_series
from massact.fit.forms import FORMS, Form, register
from tests.fit.curves import SHORT

ROOT = Path(__file__).parents[3]
OWN = (ROOT / "docs" / "examples" / "own_form.py").read_text(encoding="utf-8")
Y = np.stack([3 + 20 * np.tanh(SHORT / tau) for tau in (60.0, 400.0)])


@pytest.fixture
def own():
    space: dict = {"__name__": "own"}
    exec(OWN, space)
    register(space["Saturation"]())
    yield FORMS["saturation"]
    del FORMS._things["saturation"]


def test_it_is_fitted_and_selected_like_any_other(own):
    noisy = Y + 0.05 * np.random.default_rng(0).standard_normal(Y.shape)
    fits = fit_many(SHORT, noisy, form="saturation")
    np.testing.assert_allclose(fits["tau"], [60, 400], rtol=0.05)
    assert fits["tau_determined"].all() and (fits["regime"] != "failed").all()
    fit = fit_series(SHORT, noisy[0], form="saturation")
    assert fit.best["tau"] == pytest.approx(fits["tau"][0], rel=1e-6)
    assert "A tanh(t / tau) + K" in fit.report()
    table = compare_forms(SHORT, noisy)
    best = table.loc[table.groupby("curve")["aicc"].idxmin(), "form"]
    assert list(best) == ["saturation", "saturation"]
    resampled = fit_many(SHORT, noisy, form="saturation", intervals="residuals", resamples=50)
    assert (resampled["f_end_lower"] < resampled["f_end"]).all()


def test_an_incomplete_form_is_refused_with_what_it_lacks():
    class Half(Form):
        name = "half"
        box = columns = slopes = parameters_of = rates_of = slowest_rate = peak_step = None  # type: ignore[assignment]

    with pytest.raises(FitError, match=r"does not state .*title"):
        register(Half())
    with pytest.raises(TypeError, match="abstract"):
        Form()  # type: ignore[abstract]


def test_an_installed_package_brings_it_to_the_command_line(tmp_path):
    (tmp_path / "own_form.py").write_text(OWN)
    package = tmp_path / "own_form-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: own-form\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[massact.forms]\nsaturation = own_form:Saturation\n")
    places = [f"{name}={tmp_path}/{name.removeprefix('paths.')}" for name in ("paths.fits", "paths.results")]
    run = [sys.executable, "run.py", "model=pocket-a", "checkpoints=list", "checkpoints.steps=[0,1,2,4,8,16,32]"]
    done = subprocess.run(
        [
            *run,
            "fit.form=saturation",
            "fit.resamples=0",
            "tracking.enabled=false",
            f"hydra.run.dir={tmp_path}/job",
            *places,
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "pocket-a-seed0, saturation: ratio" in done.stdout
    assert (tmp_path / "job" / "pocket-a-seed0-saturation.parquet").is_file()
    assert list((tmp_path / "job" / "figures").glob("*.png"))
