"""Late glyphs come from the cache as they were drawn, and a bad cache is as good as none."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from optimem.modes import MODES, Tier
from optimem.renderers import glyphs, late
from optimem.renderers.atlas import ATLAS_FILE, Atlas, Codes, Pixels
from optimem.renderers.late import LateGlyphs, cache_folder
from optimem.renderers.typefaces import LATE

SIGNS = [chr(0x4E00 + number) for number in range(64)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPTIMEM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def page(atlas: Atlas, text: str = "".join(SIGNS)) -> Codes:
    codes = np.zeros((64, 128), np.intp)
    slots = atlas.slots(np.array([*map(ord, text)], np.uint32))
    codes[0, : 2 * len(text)] = atlas.codes(np.stack([slots, slots + 1], axis=1).ravel(), 1)
    return codes


def drawn(tier: Tier = Tier.BASE) -> Pixels:
    """A page of signs, as a process draws it that has drawn none yet."""
    atlas = Atlas(ATLAS_FILE)
    return atlas.raster(page(atlas), tier)


def forbid(*_: object) -> Pixels:
    raise AssertionError("drawn, not read")


@pytest.mark.parametrize("tier", MODES, ids=lambda tier: tier.label)
def test_a_second_process_draws_nothing(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    first = drawn(tier)
    monkeypatch.setattr(late, "draw", forbid)
    assert np.array_equal(drawn(tier), first)


def test_glyphs_of_one_cell_and_two_are_read_as_they_were_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = [(font, point, cells) for point in range(0x4E00, 0x4E20) for font, cells in ((1, 2),)]
    wanted += [(4, point, 1) for point in range(0x628, 0x63A)]  # Arabic letters
    glyphs_of_size = LateGlyphs("key", Tier.SMALL.cell)
    before = [glyphs_of_size.ink(LATE[font], point, cells) for font, point, cells in wanted]
    for ink, (font, point, cells) in zip(before, wanted, strict=True):
        assert np.array_equal(ink, glyphs.draw(LATE[font], point, Tier.SMALL.cell, cells))
    glyphs_of_size.save()
    monkeypatch.setattr(late, "draw", forbid)
    again = LateGlyphs("key", Tier.SMALL.cell)
    for ink, (font, point, cells) in zip(before, wanted, strict=True):
        assert np.array_equal(again.ink(LATE[font], point, cells), ink)


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "longer", "folder", "text"])
def test_a_damaged_cache_is_drawn_anew_and_mended(damage: str, folder: Path) -> None:
    first = drawn()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        flipped = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
        bad = {"empty": b"", "cut": whole[:-1], "bit": flipped, "longer": whole + b"x"}
        path.write_bytes(bad.get(damage, b"no cache"))
    assert np.array_equal(drawn(), first)
    assert [each.name for each in folder.iterdir()] == [path.name]  # nothing half written
    if damage != "folder":
        assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_made_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = drawn()
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("OPTIMEM_CACHE", str(tmp_path / "file" / "cache"))
    assert np.array_equal(drawn(), first)


def test_an_empty_name_keeps_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTIMEM_CACHE", "")
    assert cache_folder() is None
    drawn()
    assert not folder.exists()


def test_without_a_name_it_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPTIMEM_CACHE")
    assert (cache_folder() or Path()).name == "optimem"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_its_owner_can_read_it(folder: Path) -> None:
    drawn()
    (path,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


def test_what_processes_draw_at_once_is_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = LateGlyphs("key", (8, 16)), LateGlyphs("key", (8, 16))
    for each, points in ((first, range(0x4E00, 0x4E30)), (second, range(0x5000, 0x5030))):
        for point in points:
            each.ink(LATE[1], point, 2)
        each.save()
    monkeypatch.setattr(late, "draw", forbid)
    third = LateGlyphs("key", (8, 16))
    for each, point in ((first, 0x4E00), (first, 0x4E2F), (second, 0x5000), (second, 0x502F)):
        assert np.array_equal(third.ink(LATE[1], point, 2), each.ink(LATE[1], point, 2))


def test_threads_draw_the_same_page(folder: Path) -> None:
    atlas = Atlas(ATLAS_FILE)
    codes = page(atlas)
    with ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(lambda tier: atlas.raster(codes, tier), [Tier.BASE] * 8))
    assert all(np.array_equal(each, pages[0]) for each in pages)


def test_another_process_reads_it(folder: Path) -> None:
    program = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1])\n"
        "import test_late\n"
        "print(hashlib.sha256(test_late.drawn()).hexdigest())\n"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent)]
    first, second = (subprocess.run(command, capture_output=True, check=True).stdout for _ in "ab")
    assert first == second
    assert len(list(folder.iterdir())) == 1
