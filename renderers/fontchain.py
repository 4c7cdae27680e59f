"""Fonts beyond the shipped ones, for code points that no shipped font has.

They are looked for in this order: files given by the caller, the files and folders named
in the environment variable `OPTIMEM_FONTS`, then what fontconfig knows. A page's layout
never depends on them; its pixels do, so whoever names pixels takes `digest` into the name.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from optimem.errors import InputError
from optimem.renderers.glyphs import code_points, is_visible
from optimem.renderers.typefaces import Typeface

VARIABLE = "OPTIMEM_FONTS"
_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
_QUERY = [
    "fc-list",
    ":scalable=true:color=false",
    "--format",
    "%{style}\t%{index}\t%{file}\t%{charset}\n",
]
_SECONDS = 20


def font_chain(files: tuple[Path, ...] = ()) -> FontChain:
    """The chain of these files, this environment and this machine."""
    return _chain(files, os.environ.get(VARIABLE, ""))


class FontChain:
    """Finds a font for a code point; the same answer each time.

    Args:
        files: fonts to try first, and folders of them.
    """

    def __init__(self, files: Sequence[Path] = ()) -> None:
        self._files = files
        self._found: dict[str, Typeface | None] = {}

    def find(self, character: str) -> Typeface | None:
        """The first font that has ink for a character, or None: then it stays a box.

        Controls, formats and blanks stay boxes, since a font's glyph for them would hide
        what they are; private characters mean something else in each font.
        """
        if character not in self._found:
            font = None
            if unicodedata.category(character)[0] not in "CZ":
                font = next(self._candidates(ord(character)), None)
            self._found[character] = font
        return self._found[character]

    def _candidates(self, point: int) -> Iterator[Typeface]:
        fonts, first = _installed()
        given = (font for font, points in self._given if point in points)
        listed = [fonts[first[point]]] if first[point] >= 0 else []
        return (font for font in (*given, *listed) if is_visible(font, point))

    @functools.cached_property
    def _given(self) -> list[tuple[Typeface, frozenset[int]]]:
        fonts = []
        for path in self._files:
            inside = sorted(path.rglob("*")) if path.is_dir() else [path]
            for file in inside:
                if path.is_dir() and file.suffix.lower() not in _SUFFIXES:
                    continue
                font = _typeface(file, 0)
                try:
                    fonts.append((font, frozenset(code_points(font))))
                except Exception as error:  # freetype-py raises its own kinds
                    raise InputError(
                        f"{file} is no font that FreeType can read: name others in {VARIABLE}"
                    ) from error
        return fonts


@functools.lru_cache(maxsize=256)
def digest(font: Typeface) -> str:
    """The SHA-256 of a font's file."""
    return hashlib.sha256(font.path.read_bytes()).hexdigest()


@functools.lru_cache(maxsize=16)
def _chain(files: tuple[Path, ...], named: str) -> FontChain:
    return FontChain([*files, *(Path(name) for name in named.split(os.pathsep) if name)])


def _typeface(path: Path, index: int) -> Typeface:
    return Typeface(str(path.resolve()), em=1.06, above=0.9, below=0.35, shaped=True, index=index)


@functools.cache
def _installed() -> tuple[list[Typeface], npt.NDArray[np.int16]]:
    """Fonts that fontconfig lists, and which of them draws each code point (-1: none)."""
    listed = []  # (whether it is a special cut, file, index, ranges)
    for line in _ask_fontconfig().splitlines():
        style, index, file, charset = (*line.split("\t"), "", "", "")[:4]
        if charset and index.isdecimal() and int(index) <= 0xFFFF:  # not cuts of variable fonts
            special = not any(word in style for word in ("Regular", "Book", "Medium"))
            listed.append((special, file, int(index), charset))
    listed.sort()
    first = np.full(sys.maxunicode + 1, -1, np.int16)
    for rank in range(len(listed) - 1, -1, -1):
        for part in listed[rank][3].split():
            start, _, stop = part.partition("-")
            first[int(start, 16) : int(stop or start, 16) + 1] = rank
    return [_typeface(Path(file), index) for _, file, index, _ in listed], first


def _ask_fontconfig() -> str:
    if shutil.which(_QUERY[0]) is None:
        return ""
    try:
        answer = subprocess.run(_QUERY, capture_output=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return os.fsdecode(answer.stdout)
