"""A real browser renders the page. If none is installed, the parameter set is empty and pytest reports it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from massact.report import build_report

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSERS = [found for found in map(shutil.which, NAMES) if found][:1]
WIDTH, HEIGHT = 1400, 6000


def browse(browser: str, folder: Path, *flags: str) -> str:
    """Run the browser on `folder/report.html` without a network; returns its standard output."""
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}",
        f"--window-size={WIDTH},{HEIGHT}", *flags, (folder / "report.html").as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.parametrize("browser", BROWSERS)
def test_a_browser_parses_and_draws_every_figure(browser, inputs, tmp_path):
    build_report(inputs, tmp_path / "report.html")
    dom = browse(browser, tmp_path, "--dump-dom")
    assert dom.count("<figure ") == dom.count("<figcaption>") == 9
    assert dom.count("<section ") == 8

    browse(browser, tmp_path, f"--screenshot={tmp_path / 'page.png'}")
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).astype(int)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    coloured = (pixels.max(axis=2) - pixels.min(axis=2)) > 60
    bands = coloured.reshape(6, HEIGHT // 6, WIDTH).mean(axis=(1, 2))
    assert (bands[1:4] > 0.002).all(), "figures are not drawn"  # the first band is the headline
    assert not coloured[:, :100].any(), "something runs over the left edge of the page"
    assert not coloured[:, -100:].any(), "something runs over the right edge of the page"
