"""Every invalid value gives one line with the nearest valid values, before torch is imported."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from massact.errors import ConfigError
from massact.preflight import preflight
from massact.settings import steps_of

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"


def check(*overrides: str, multirun: bool = False):
    return preflight(overrides, CONF, multirun=multirun)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model=pythia-71m"], "pythia-70m"),
        (["modle=pythia-70m"], "model"),
        (["model=pythia-70m", "checkpoints=list", "checkpoints.steps=[0,1500]"], "1000 or 2000"),
        (["model=pocket-a", "checkpoints=list", "checkpoints.steps=[3]"], "2 or 4"),
        (["checkpoints=list"], "checkpoints.steps"),
        (["model.architecture.n_heads=5"], "4"),
        (["model=pythia-14m", "model.deduped=true"], "14m"),
        (["model=pythia-31m", "model.deduped=true"], "31m"),
        (["model=pythia-1b", "model.seed=2"], "410m"),
        (["model=pythia-70m", "model.seed=10"], "9"),
        (["model=pocket-a", "model.seed=-1"], "standard release"),
        (["model=pocket-a", "model.deduped=true"], "deduplicated"),
        (["fit=eq10"], "eq9"),
        (["model=folder", "model.folder=x", 'extract.layers="0,x"'], "0,3-5,last"),
        (["model=pocket-a", "extract.layers=99"], "there is no layer 99"),
        (["protocol.dtype=float8"], "float16"),
        (["stage=extrakt"], "extract"),
        (["probe.length=4096"], "tokens"),
        (["probe.sequences=0"], "paper has 10"),
        (["probe.sequences=ten"], "probe.sequences"),
        (["stage=train", "model=pythia-70m"], "trained elsewhere"),
        (["model=pocket-a,pocket-b"], "-m"),
        (["model"], "key=value"),
        (["predictor.regressors.rigde={}"], "ridge"),
        (["paths.fits=/data/mä"], """quote the value: 'paths.fits="/data/mä"'"""),
        (["model.name=a\nb"], "cannot be read"),
        (['model.name="a\nb"'], "cannot name a file"),
        (["model.name=../../x"], "cannot name a file"),
        (["model.name="], "cannot name a file"),
        ([f"model.name={'x' * 300}"], "at most 100"),
        (["suite.name=../../x"], "cannot name a file"),
        (["suite.ladders={..: {n_layers: 1}}"], "suite.ladders"),
        (["tracking.experiment=../../x"], "cannot name a file"),
        (["model.recipe.name=/tmp/x"], "cannot name a file"),
        (["model=olmo-1b", "model.variant=../x"], "cannot name a file"),
        (["model=olmo-1b", "model.repository=../x"], "owner"),
        (["published.commit=../../x"], "cannot name a file"),
        (["model.folder=.."], "name the folder itself"),
        (["model.folder="], "is not a path"),
        (["extract.statistics=[magnitude]"], "extract.statistics = magnitude is not known; nearest: magnitudes"),
        (["extract.statistics=[]"], "name at least one, e.g. [magnitudes]"),
        (["extract.statistics=[magnitudes,magnitudes]"], "names magnitudes twice"),
        (["extract.statistics=magnitudes"], "magnitudes"),
        (["extract.statistic=[magnitudes]"], "nearest: extract.statistics"),
    ],
)
def test_a_wrong_value_names_the_nearest_valid_ones(overrides, words):
    with pytest.raises(ConfigError) as caught:
        check(*overrides)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sweep_is_checked_member_by_member():
    configs = check("model=pythia-70m,pythia-1b", "checkpoints=quick,log", "fit=eq9,eq14", multirun=True)
    assert len(configs) == 8
    assert {c.model.name for c in configs} == {"pythia-70m", "pythia-1b"}
    with pytest.raises(ConfigError, match="nearest"):
        check("model=pythia-70m,pythia-3b", multirun=True)


def test_globs_choices_and_ranges_are_sweeps_too():
    assert len(check("model=glob(pocket-*)", multirun=True)) == len(list(CONF.glob("model/pocket-*.yaml")))
    assert len(check("protocol.dtype=choice(float32,float16)", "probe.sequences=range(1,4)", multirun=True)) == 6
    with pytest.raises(ConfigError, match="matches nothing"):
        check("model=glob(llama-*)", multirun=True)


EXPERIMENTS = sorted(path for path in CONF.glob("experiment/*.yaml") if path.stem != "paper")  # that one is below


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_every_experiment_composes(path):
    assert check(f"experiment={path.stem}")


def test_the_paper_is_nine_models_of_37_steps_and_four_forms():
    configs = check("experiment=paper")
    assert len(configs) == 36
    assert all(len(steps_of(config)) == 37 for config in configs)
    assert all(config.probe.text == "redpajama" and config.probe.sequences == 10 for config in configs)


@pytest.mark.parametrize("path", sorted(CONF.glob("model/*.yaml")), ids=lambda p: p.stem)
def test_every_model_composes_and_is_named_as_its_file(path, tmp_path):
    place = {"folder": f"model.folder={tmp_path}/folder", "hub": "model.repository=some/one"}.get(path.stem)
    (config,) = check(f"model={path.stem}", *([place] if place else []))
    assert config.model.name == path.stem


def test_near_names_are_each_named_once():
    with pytest.raises(ConfigError, match=r"nearest: sweep, sweep\.prefetch"):
        check("sweep.foo=1")


def test_the_library_resamples_as_often_as_the_pipeline():
    from massact.fit.judgement.bootstrap import RESAMPLES

    (config,) = check()
    assert config.fit.resamples == RESAMPLES


def test_what_choices_share_is_no_choice():
    for group, name in (("fit", "form"), ("model", "pythia")):
        with pytest.raises(ConfigError, match="is not known"):
            check(f"{group}={name}")
    assert len(check("fit=glob(*)", multirun=True)) == len(list(CONF.glob("fit/*.yaml")))


def test_no_key_is_in_both_params_and_conf():
    import yaml

    params = set(yaml.safe_load((ROOT / "params.yaml").read_text()))
    for path in CONF.rglob("*.yaml"):
        content = yaml.safe_load(path.read_text()) or {}
        assert not params & set(content), path


def processor_seconds(*arguments: str) -> float:
    """Of one process: steadier than the clock while other tests run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def run(*arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "run.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done, time.perf_counter() - began


def test_the_command_line_refuses_in_one_line_with_status_2():
    done, _ = run("model=pythia-71m")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("massact: model = pythia-71m is not known; nearest: pythia-70m")


def test_help_imports_neither_torch_nor_mlflow_and_is_quick():
    code = (
        "import sys, runpy\nsys.argv = ['run.py', '--help']\n"
        "try:\n    runpy.run_path('run.py', run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "sys.exit(bool({'torch', 'mlflow', 'transformers', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "pythia-70m" in done.stdout
    # Beside Hydra's own help on the same configuration: machines differ.
    bare = (
        "import hydra\nfrom massact.config import register\nregister()\n"
        f"hydra.main(version_base='1.3', config_path={str(ROOT / 'conf')!r}, config_name='config')(lambda _: None)()"
    )
    ours = min(processor_seconds("run.py", "--help") for _ in range(2))
    assert ours < 2 * min(processor_seconds("-c", bare, "--help") for _ in range(2))


def test_wrong_values_are_refused_before_torch_is_imported():
    code = (
        "import sys\nfrom pathlib import Path\nfrom massact.preflight import preflight\n"
        "preflight(['model=pythia-12b'], Path('conf'), multirun=False)\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
