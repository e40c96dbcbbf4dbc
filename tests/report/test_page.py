"""The page as a whole: valid, self-contained, deterministic, complete, and careful with missing or hostile parts."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from massact.errors import TableError
from massact.fit.judgement.regimes import Regime
from massact.report import Headline, ReportInputs, build_report, save_figures
from tests.report.synthetic import Shape, make_inputs

FEW, FEW_STEPS = ("A", "f_start"), (0, 1, 8, 64, 512, 2048)
VOID = {"meta", "img", "br", "link", "input", "hr"}
SECTIONS = ("headline", "trajectories", "maps", "fits", "quality", "predictions", "scores", "method")


class Page(HTMLParser):
    """Collects tags, attributes and text, and fails on tags that are not balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style",):
            self.text.append(data)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def built(inputs: ReportInputs, folder: Path) -> Page:
    build_report(inputs, folder / "report.html")
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def made(inputs, tmp_path_factory) -> tuple[Path, Headline]:
    path = tmp_path_factory.mktemp("page") / "deep" / "report.html"
    return path, build_report(inputs, path)


@pytest.fixture(scope="module")
def path(made) -> Path:
    return made[0]


@pytest.fixture(scope="module")
def page(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_sections_come_in_order_and_links_lead_to_them(page):
    assert [a.get("id") for a in page.attributes("section")] == list(SECTIONS)
    targets = {str(a["id"]) for _, a in page.tags if "id" in a}
    for link in page.attributes("a"):
        href = str(link["href"])
        assert href.startswith("https://arxiv.org/") or href[1:] in targets


def test_nothing_is_loaded_from_elsewhere(page, path):
    for name in ("script", "link", "iframe", "object", "base"):
        assert page.attributes(name) == []
    for tag, attributes in page.tags:
        for key in ("src", "href", "xlink:href", "srcset", "data"):
            value = attributes.get(key) or ""
            assert value.startswith(("data:image/png;base64,", "#")) or value == "" or tag == "a"
    text = path.read_text(encoding="utf-8")
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_ids_are_unique_and_referred_ids_exist(page, path):
    ids = [str(a["id"]) for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    used = re.findall(r"url\(#([^)]+)\)", path.read_text(encoding="utf-8"))
    used += [str(a["xlink:href"])[1:] for _, a in page.tags if str(a.get("xlink:href", "")).startswith("#")]
    assert set(used) <= set(ids)


def test_every_figure_has_alternative_text_and_a_caption(page):
    figures = len(page.attributes("figure"))
    pictures = [a for a in page.attributes("svg") if a.get("role") == "img"] + page.attributes("img")
    assert figures == len(pictures) == len(page.attributes("figcaption")) >= 9
    assert all(len(str(a.get("aria-label") or a.get("alt") or "")) > 30 for a in pictures)
    assert all(f"Figure {at}." in page.words for at in range(1, figures + 1))


def test_the_page_is_small(path):
    assert path.stat().st_size < 2_000_000


def test_same_inputs_give_the_same_bytes_in_this_process_and_in_another(tmp_path):
    code = (
        "import sys; from pathlib import Path; from massact.report import build_report\n"
        "from tests.report.synthetic import Shape, make_inputs\n"
        "build_report(make_inputs((Shape('a', 1, 64, 2),), slices=1, targets=('A', 'f_start')), Path(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "other")], check=True, env=environment)
    for name in ("first", "second"):
        build_report(make_inputs((Shape("a", 1, 64, 2),), slices=1, targets=FEW), tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert (tmp_path / "first").read_bytes() == (tmp_path / "other").read_bytes()


def test_headline_numbers_are_on_the_page(made, page):
    numbers = made[1]
    assert numbers.max_ratio is not None
    assert numbers.best_held_out is not None
    assert "4 models" in page.words
    assert f"{numbers.max_ratio.value:,.0f}" in page.words
    assert f"{numbers.best_held_out.r2:.2f}" in page.words


def test_cautions_name_the_number_of_architectures(page):
    assert "With 4 architectures, scores on held-out architectures mean little" in page.words
    assert "not of another training seed" in page.words
    assert "Undetermined parameters" in page.words


@pytest.mark.parametrize(
    ("part", "empty", "sentence"),
    [
        ("trajectories", pd.DataFrame(), "There are no trajectories yet."),
        ("records", pd.DataFrame(), "tiny-a"),
        ("fits", {}, "There are no fits yet."),
        ("fits", {"eq9": pd.DataFrame()}, "There are no fits yet."),
        ("scores", pd.DataFrame(), "There are no scores yet."),
        ("predictions", pd.DataFrame(), "There are no out-of-sample predictions yet."),
        ("provenance", [], "There is no provenance yet."),
        ("training", {}, "How to reproduce this page"),
    ],
)
def test_a_missing_part_is_reported_in_its_section(part, empty, sentence, tmp_path):
    inputs = make_inputs((Shape("tiny-a", 1, 64, 2),), steps=FEW_STEPS, slices=1, targets=FEW)
    page = built(dataclasses.replace(inputs, **{part: empty}), tmp_path)
    assert sentence in page.words


def test_nothing_at_all_still_makes_a_page(tmp_path):
    page = built(ReportInputs(), tmp_path)
    assert "make repro" in page.words
    assert page.attributes("figure") == []


def test_names_are_data_not_markup(tmp_path):
    name = "<script>alert('x')</script> & \"q\" $x_1$"
    inputs = make_inputs((Shape(name, 1, 64, 2), Shape("plain", 1, 64, 2)), steps=FEW_STEPS, slices=1, targets=FEW)
    page = built(dataclasses.replace(inputs, suspects=[f"{name} step 4 has the weights of step 2"]), tmp_path)
    assert page.attributes("script") == []
    assert page.words.count(name) > 6


def test_places_that_all_differ_are_not_called_a_spike(tmp_path):
    inputs = make_inputs((Shape("plain", 1, 64, 2),), steps=FEW_STEPS, slices=1, targets=FEW)
    apart = inputs.records.assign(token1=inputs.records["sequence"] + 5)
    page = built(dataclasses.replace(inputs, records=apart), tmp_path)
    assert "10 different tokens in 10 sequences" in page.words
    assert "(1/10)" not in page.words
    assert "dimension 17 (8/10)" in page.words


def test_targets_without_a_score_are_named_with_the_reason_and_have_no_rows(tmp_path):
    shapes = (Shape("tiny-a", 2, 64, 2), Shape("tiny-b", 2, 128, 2))
    inputs = make_inputs(shapes, steps=FEW_STEPS, slices=1, targets=FEW)
    scores = inputs.scores.assign(r2=inputs.scores["r2"].where(inputs.scores["target"] != "A"))
    page = built(dataclasses.replace(inputs, scores=scores), tmp_path)
    assert "No score for A: too few curves determine them" in page.words
    assert " A random split " not in page.words
    assert " f(0) random split " in page.words


def test_every_regime_is_explained(tmp_path):
    inputs = make_inputs((Shape("plain", 1, 64, 2),), steps=FEW_STEPS, slices=1, targets=FEW)
    words = built(inputs, tmp_path).words.lower()
    assert all(f"{regime.replace('_', ' ')}: " in words for regime in Regime)


def test_the_page_says_which_suspects_are_in_the_curves(tmp_path):
    inputs = make_inputs((Shape("plain", 1, 64, 2),), steps=FEW_STEPS, slices=1, targets=FEW)
    suspects = ["plain step 4: has the weights of step 2 (not measured)", "plain step 8: has the weights of step 16"]
    page = built(dataclasses.replace(inputs, suspects=suspects), tmp_path)
    assert "2 checkpoints are not what they claim or could not be measured" in page.words
    assert "marked “not measured” is in no curve below" in page.words
    assert "the fits exclude them unless fit.suspects=true" in page.words


@pytest.mark.filterwarnings("error::UserWarning", "error::RuntimeWarning")
@pytest.mark.parametrize(
    ("shapes", "sequences", "steps"),
    [
        ((Shape("only", 1, 64, 2),), 1, (0, 1, 2, 4)),
        ((Shape("one-step", 2, 64, 2),), 3, (512,)),
        ((Shape("deep", 24, 64, 2), Shape("deep", 3, 64, 2, seed=1)), 2, (0, 1, 1000, 143000)),
        (tuple(Shape(f"m{k}", 2, 64, 2) for k in range(5)), 2, (0, 64, 2048)),
    ],
)
def test_odd_shapes_are_drawn_without_a_warning(shapes, sequences, steps, tmp_path):
    page = built(make_inputs(shapes, sequences=sequences, steps=steps, slices=1, targets=FEW), tmp_path)
    assert len(page.attributes("figure")) >= 4


@pytest.mark.filterwarnings("error::UserWarning", "error::RuntimeWarning")
def test_failed_fits_and_scores_without_a_number_are_shown_as_such(tmp_path):
    inputs = make_inputs((Shape("tiny-a", 3, 64, 2), Shape("tiny-b", 3, 128, 2)), slices=1, targets=FEW)
    broken = inputs.fits["eq9"].copy()
    numbers = [name for name in broken if broken[name].dtype == np.float64]
    broken[numbers] = np.nan
    broken["regime"], broken["peak_determined"] = "failed", False
    broken["rotary_fraction"], broken["rotary_base"] = 0.25, 1e4
    scores = inputs.scores.assign(r2=np.nan)
    page = built(dataclasses.replace(inputs, fits={**inputs.fits, "eq9": broken}, scores=scores), tmp_path)
    assert "no fit: Eq. 9" in page.words
    assert "failed 3/3" in page.words
    assert "No prediction has a finite score" in page.words


def test_two_recipes_never_share_a_figure_and_are_named(tmp_path):
    first = make_inputs((Shape("tiny-a", 2, 64, 2),), slices=1, targets=FEW)
    other = first.trajectories.assign(recipe="long")
    both = dataclasses.replace(first, trajectories=pd.concat([first.trajectories, other], ignore_index=True))
    page = built(both, tmp_path)
    assert "Their steps are not comparable" in page.words
    assert "tiny-a, long" in page.words
    labels = [str(a["aria-label"]) for a in page.attributes("svg")]
    assert sum(label.startswith("Curves") for label in labels) == 2


def test_only_one_quantity_measured_and_another_fitted(tmp_path):
    inputs = make_inputs((Shape("tiny-a", 2, 64, 2),), slices=0)
    median = inputs.trajectories[inputs.trajectories["quantity"] == "median"]
    page = built(dataclasses.replace(inputs, trajectories=median), tmp_path)
    assert "There are no ratios yet." in page.words
    ratio = inputs.trajectories[inputs.trajectories["quantity"] == "ratio"]
    fits = {form: frame[frame["quantity"] == "top1"] for form, frame in inputs.fits.items()}
    page = built(dataclasses.replace(inputs, trajectories=ratio, fits=fits), tmp_path)
    assert "There are no fits yet." in page.words
    save_figures(dataclasses.replace(inputs, trajectories=median, fits=fits), tmp_path / "figures")


def test_a_table_of_another_schema_is_refused(inputs, tmp_path):
    wrong = dataclasses.replace(inputs, scores=inputs.scores.drop(columns="mae"))
    with pytest.raises(TableError, match="columns missing"):
        build_report(wrong, tmp_path / "report.html")
    with pytest.raises(TableError, match="unknown forms"):
        build_report(dataclasses.replace(inputs, fits={"eq10": inputs.fits["eq9"]}), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_main_figures_are_saved_as_png(inputs, tmp_path):
    small = make_inputs((Shape("tiny-a", 2, 64, 2), Shape("tiny-b", 2, 128, 2)), slices=1, targets=FEW)
    paths = save_figures(small, tmp_path / "figures")
    assert [p.name for p in paths] == ["trajectories-1.png", "maps-1.png", "fits.png", "r2.png", "predictions.png"]
    before = [p.read_bytes() for p in paths]
    assert all(content.startswith(b"\x89PNG") for content in before)
    save_figures(small, tmp_path / "figures")
    assert [p.read_bytes() for p in paths] == before
    assert save_figures(ReportInputs(), tmp_path / "none") == []
