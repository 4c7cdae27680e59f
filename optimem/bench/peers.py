"""Other ways from text to page images, for `optimem.bench.render`.

Each is a function that draws a text as its project does by default and throws the images
away. A peer that is not installed is None, with a line that says how to install it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, features

from optimem.modes import Tier
from optimem.renderers.typefaces import ADVANCE
from optimem.values import Page

Renderer = Callable[[str], None]

_FONTS = Path("/usr/share/fonts/truetype")
_DEJAVU = _FONTS / "dejavu"

# Draws the text that comes in on each line (JSON) once, and answers with the CPU seconds
# of each. It keeps what it drew by content, so no text may come twice.
_OMNIGLYPH = """
import { createInterface } from 'node:readline';
import { renderTextToImages } from 'omniglyph';
for await (const line of createInterface({ input: process.stdin })) {
  const text = JSON.parse(line), begun = process.cpuUsage();
  await renderTextToImages(text, { reflow: true });
  const used = process.cpuUsage(begun);
  console.log((used.user + used.system) / 1e6);
}
"""


def pillow_fonts() -> dict[str, Path | None]:
    """Fonts that Pillow is quick with, as Debian has them, and its own, None.

    FreeType's hinting decides: a font without hints of its own (JetBrains Mono, Fira Code,
    Noto Sans Mono and what this package ships) takes up to eight times as long. FreeMono,
    whose strokes are hairlines, is the quickest of those whose pages Tesseract reads within
    the bounds of `optimem.bench.legibility`; fonts of plain pixels are quicker, but misread.
    """
    files = {
        "DejaVu Sans Mono": _DEJAVU / "DejaVuSansMono.ttf",
        "FreeMono": _FONTS / "freefont" / "FreeMono.ttf",
    }
    return {name: path for name, path in files.items() if path.exists()} | {"own font": None}


def pillow(path: Path | None, *, raqm: bool, png: bool) -> Callable[[Page], None] | None:
    """Pillow, a line at a time, in cells of our size: the rows are laid out for it.

    Args:
        path: of the font; None for the one that Pillow brings along.
        raqm: lay lines out with Raqm, which is quicker, or with Pillow's basic engine.
        png: write a PNG as well, at Pillow's default level.
    """
    if raqm and not features.check("raqm"):
        return None
    width, height = Tier.BASE.cell
    size = width / ADVANCE
    engine = ImageFont.Layout.RAQM if raqm else ImageFont.Layout.BASIC
    font: Any  # Pillow's own font lays out with the engine that it finds
    font = (
        ImageFont.truetype(path, size, layout_engine=engine)
        if path
        else ImageFont.load_default(size)
    )

    def draw(page: Page) -> None:
        image = Image.new("L", (Tier.BASE.side, Tier.BASE.side), 255)
        pen = ImageDraw.Draw(image)
        for number, row in enumerate(page.rows):
            pen.text((0, number * height), row, fill=0, font=font)
        if png:
            image.save(io.BytesIO(), "PNG")

    return draw


def reportlab_poppler() -> Renderer | None:
    """reportlab, then poppler at 72 dpi, then RGB PNG, with Glyph's settings.

    A4, margins of 10 pt, a proportional font of 9 pt on 10 pt lines, 30 lines a paragraph;
    DejaVu Sans stands in for Verdana, from which it differs little in width.
    """
    if shutil.which("pdftoppm") is None or not _DEJAVU.is_dir():
        return None
    try:
        units: Any = importlib.import_module("reportlab.lib.pagesizes")
        styles: Any = importlib.import_module("reportlab.lib.styles")
        platypus: Any = importlib.import_module("reportlab.platypus")
        metrics: Any = importlib.import_module("reportlab.pdfbase.pdfmetrics")
        fonts: Any = importlib.import_module("reportlab.pdfbase.ttfonts")
        pdf2image: Any = importlib.import_module("pdf2image")
    except ImportError:
        return None
    metrics.registerFont(fonts.TTFont("DejaVuSans", str(_DEJAVU / "DejaVuSans.ttf")))
    style = styles.ParagraphStyle("page", fontName="DejaVuSans", fontSize=9, leading=10)
    margins = dict.fromkeys(("leftMargin", "rightMargin", "topMargin", "bottomMargin"), 10)

    def draw(text: str) -> None:
        lines = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split("\n")
        story = [
            platypus.Paragraph("<br/>".join(lines[start : start + 30]), style)
            for start in range(0, len(lines), 30)
        ]
        pdf = io.BytesIO()
        platypus.SimpleDocTemplate(pdf, pagesize=units.A4, **margins).build(story)
        for image in pdf2image.convert_from_bytes(pdf.getvalue(), dpi=72):
            image.save(io.BytesIO(), "PNG")

    return draw


def un_locc() -> Renderer | None:
    """un-locc 0.1: reportlab and pdfium, 864 x 864."""
    try:
        client: Any = importlib.import_module("un_locc").UnLOCC(api_key="unused")
    except ImportError:
        return None

    def draw(text: str) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
            client._generate_images(text, **client.default_compression)

    return draw


def pixelprompt() -> Renderer | None:
    """PixelPrompt 0.4: Pillow, up to 1568 px wide."""
    try:
        module: Any = importlib.import_module("pixelprompt")
    except ImportError:
        return None
    renderer = module.PixelPrompt(module.RenderConfig.for_content("prose"))

    def draw(text: str) -> None:
        renderer.render(text)

    return draw


class Omniglyph:
    """npm omniglyph 1.4 in a process of its own, timed by its own CPU clock.

    Started in the folder that has it in `node_modules`. A context manager; `draw` gives
    the CPU seconds that a text took.
    """

    def __init__(self, home: Path) -> None:
        command = ["node", "--input-type=module", "-e", _OMNIGLYPH]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=home
        )

    @staticmethod
    def find(folder: Path | None) -> Path | None:
        """The folder whose `node_modules` has omniglyph: the one given, or npm's global one."""
        if shutil.which("node") is None or shutil.which("npm") is None:
            return None
        asked = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False)
        for home in (folder, Path(asked.stdout.strip()).parent):
            if home is not None and (home / "node_modules" / "omniglyph").is_dir():
                return home
        return None

    def draw(self, text: str) -> float:
        """Draw a text that it has not drawn before; CPU seconds."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("omniglyph has no pipes")
        self._process.stdin.write(json.dumps(text) + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def __enter__(self) -> Omniglyph:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
