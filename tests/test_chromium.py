"""A browser, which no one here wrote, decodes the PNGs to the pixels that were drawn."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from unicode_pages import lay_out

from optimem.modes import MODES
from optimem.renderers import png
from optimem.renderers.page import page_pixels, page_png

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--dump-dom"),
)
SCRIPT = """
onload = () => {
  const sums = [...document.images].map((image) => {
    const canvas = document.createElement('canvas');
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const pen = canvas.getContext('2d');
    pen.drawImage(image, 0, 0);
    const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    let low = 1, high = 0;  // Adler-32 of the red channel
    for (let at = 0; at < pixels.length; at += 4) {
      low = (low + pixels[at]) % 65521;
      high = (high + low) % 65521;
    }
    return high * 65536 + low;
  });
  document.body.textContent = 'sums: ' + JSON.stringify(sums);
};
"""


@pytest.mark.timeout(180)
def test_chromium_sees_the_pixels_of_every_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (page,) = lay_out(
        "def f(x): return x # |", "naïve – Ελληνικά ✓ └─ " * 90, "端口 8443 \U0010ffff"
    )
    (plain,) = lay_out("plain words, code(1), {'json': [1, 2]} " * 120)
    files, wanted = [], []
    for deflate in (None, png.fast_deflate):
        monkeypatch.setattr(png, "fast_deflate", deflate)
        for each in (plain, page):
            files += [page_png(each, tier) for tier in MODES]
            wanted += [zlib.adler32(page_pixels(each, tier).tobytes()) for tier in MODES]
    images = (base64.b64encode(file).decode() for file in files)
    html = tmp_path / "pages.html"
    html.write_text(
        f"<script>{SCRIPT}</script><body>"
        + "".join(f'<img src="data:image/png;base64,{image}">' for image in images),
        "utf-8",
    )
    chromium = shutil.which("chromium")
    assert chromium, "install Chromium: apt-get install chromium"
    command = [chromium, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", html.as_uri()]
    done = subprocess.run(command, capture_output=True, check=True, timeout=150)
    found = re.search(r"sums: (\[.*?\])", done.stdout.decode())
    assert found is not None, done.stderr.decode()[-2000:]
    assert json.loads(found[1]) == wanted
