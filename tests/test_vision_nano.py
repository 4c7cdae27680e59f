"""optimem-nano: its cells, its tokens, its checkpoint, and what it reads."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from safetensors.torch import load_file
from tokenizers import Tokenizer
from vision_models import save_checkpoint

from optimem import Memory
from optimem.bench.corpus import pages_of, turns_of
from optimem.errors import InputError
from optimem.messages import parse
from optimem.modes import COLUMNS, ROWS, Tier
from optimem.renderers.arrange import arrange_page
from optimem.renderers.atlas import load_atlas
from optimem.renderers.layout import PageStyle
from optimem.renderers.page import page_pixels
from optimem.values import Page
from optimem.vision import LocalReader
from optimem.vision.cells import Alphabet, CellReader
from optimem.vision.corpus import find_alphabet, hold_out, noise, page_grids, read_documents
from optimem.vision.drawing import Drawer
from optimem.vision.lines import find_line, read_rows
from optimem.vision.places import (
    CODES,
    FIELDS,
    LENGTH,
    TIERS,
    WIDTH,
    column_places,
    row_places,
    token_places,
)
from optimem.vision.release import cut, release
from optimem.vision.tower import CellTower, find_tier, slots
from optimem.vision.train import begin, train
from optimem.vision.vocabulary import START, column_mark, marks, row_mark, train_tokenizer
from optimem.vision.wiring import LEARNED

ROOT = Path(__file__).parent.parent
POSITIONS = {Tier.TINY: 73, Tier.SMALL: 111, Tier.BASE: 273, Tier.LARGE: 421, Tier.GUNDAM: 693}


@pytest.fixture(scope="module")
def nano() -> LocalReader:
    return LocalReader.load("nano", precision="int8")


def page_of(text: str) -> Page:
    return pages_of([parse({"role": "user", "content": text})])[0]


# Slots and cells


@pytest.mark.parametrize("tier", TIERS)
def test_each_cell_has_a_slot_of_its_own(tier: Tier) -> None:
    layout = slots(tier)
    assert sorted(layout.slot.tolist()) == sorted(set(layout.slot.tolist()))
    assert (layout.cells.flatten()[layout.slot] == torch.arange(ROWS * COLUMNS)).all()
    assert layout.cells.shape[1] * layout.size <= CODES


@pytest.mark.parametrize("tier", TIERS)
def test_a_cell_is_in_the_token_on_which_its_centre_lies(tier: Tier) -> None:
    width, height = tier.cell
    layout, side = slots(tier), tier.side // 64
    for row, column in ((0, 0), (17, 51), (63, 127), (31, 64)):
        token = layout.slot[row * COLUMNS + column] // layout.cells.shape[1]
        x, y = (column + 0.5) * width, (row + 0.5) * height
        assert token == int(y // 64) * side + int(x // 64)


@pytest.mark.parametrize("tier", TIERS)
def test_codes_come_back_from_tokens(tier: Tier) -> None:
    torch.manual_seed(0)
    tower, reader = CellTower(8, 1), CellReader(Alphabet(" a", "中"), 8)
    codes = torch.rand(2, ROWS * COLUMNS, slots(tier).size)
    seen = reader(tower.tokens(codes, tier), tier)
    assert torch.equal(seen.flatten(1, 2), reader.see(codes, tier))


@pytest.mark.parametrize("tier", TIERS)
def test_a_mark_agrees_in_every_bit_with_its_token_alone(tier: Tier) -> None:
    places, layout = token_places(tier), slots(tier)  # (n * n, 128)
    rows = places[:, [f - CODES for f in FIELDS.token_rows[tier]]]
    columns = places[:, [f - CODES for f in FIELDS.columns[tier]]]
    asked_rows = row_places()[:, FIELDS.mark_rows[tier]]  # (64, bits)
    asked_columns = column_places()[:, FIELDS.columns[tier]]  # (128, bits)
    agree = (asked_rows @ rows.T)[:, None] + (asked_columns @ columns.T)[None]  # (64, 128, n * n)
    bits = rows.shape[1] + columns.shape[1]
    token = layout.slot.view(ROWS, COLUMNS) // layout.cells.shape[1]
    best = agree.topk(2, -1)
    assert (best.values[..., 0] == bits).all() and (best.values[..., 1] <= bits - 2).all()
    assert torch.equal(best.indices[..., 0], token)


@pytest.mark.parametrize("tier", TIERS)
def test_tokens_are_of_one_length(nano: LocalReader, tier: Tier) -> None:
    page = pages_of(turns_of("json"))[0]
    picture = nano.picture(page, tier)
    [(_, tokens)] = nano.encode({nano.key(picture.name, tier): picture})
    lengths = tokens[0].float().norm(dim=-1)
    assert torch.allclose(lengths[lengths > 1], torch.tensor(LENGTH), rtol=1e-4)
    assert (lengths > 1).sum() == (tier.side // 64) ** 2  # newlines and the separator say nothing


@pytest.mark.parametrize("tier", TIERS)
def test_the_decoder_takes_a_cell_out_of_a_page(nano: LocalReader, tier: Tier) -> None:
    """What its wired layers bring to a mark is the code of the mark's cell, and of the last."""
    model, ids = nano.model, nano.tokenizer.get_vocab()
    page = torch.from_numpy(page_pixels(pages_of(turns_of("ids"))[0], tier).copy())
    pixels = (page.float() / 127.5 - 1)[None, None].expand(-1, 3, -1, -1)
    embed, decoder = model.get_input_embeddings(), model.model.language_model
    brought: list[torch.Tensor] = []
    reading = decoder.layers[2].post_attention_layernorm
    hook = reading.register_forward_pre_hook(lambda _, given: brought.append(given[0]))
    with torch.inference_mode():
        codes = model.model.vision_tower.codes(pixels[:, 0], tier).view(ROWS, COLUMNS, -1)
        seen = model.get_image_features(pixels, return_dict=True).pooler_output[0]
        asked = [ids[START]] + [ids[row_mark(37)]] + [ids[column_mark(c)] for c in range(COLUMNS)]
        start, marks_ = embed(torch.tensor([asked])).split([1, 1 + COLUMNS], 1)
        decoder(inputs_embeds=torch.cat([start, seen[None], marks_], 1))
    hook.remove()
    found, size = brought[0][0, -COLUMNS:], codes.shape[-1]
    assert (found[:, FIELDS.code[:size]] - codes[37]).abs().max() < 0.1  # int8 weights: 7 % less
    assert (found[1:, FIELDS.last_code[:size]] - codes[37, :-1]).abs().max() < 0.2


def test_an_image_of_no_mode_is_refused() -> None:
    with pytest.raises(InputError, match="1000"):
        find_tier(1000)
    with pytest.raises(InputError, match=r"\[1280, 1024, 640, 512\]"):
        CellTower(8, 1)(torch.zeros(1, 3, 64, 64))


def test_halves_without_ink_belong_to_their_characters() -> None:
    reader = CellReader(Alphabet(" ab", "，「中"), 8)
    opens, follows = reader.alphabet.opens, reader.alphabet.follows
    row = [0, opens, 0, 1, 0, follows, opens, follows, opens, opens, 2, opens]
    assert reader._pair(row) == [1, 4, 6, 8]
    assert row == [0, opens, follows, 1, *[opens, follows] * 3, 2, follows]


# Pages as training sees them are pages as memories show them


@pytest.mark.parametrize("fade", ["native", "area"])
@pytest.mark.parametrize("tier", TIERS)
def test_a_drawn_page_is_the_page(tier: Tier, fade: str) -> None:
    page = pages_of(turns_of("code"))[0]
    drawer = Drawer(find_alphabet([page.text, "中文"]))
    style = PageStyle(fade=fade)  # type: ignore[arg-type]
    glyphs = drawer.glyphs(arrange_page(page, load_atlas()).codes)
    assert (glyphs >= 0).all()
    drawn = drawer.draw(torch.from_numpy(glyphs)[None].long(), tier, style.fade)
    assert np.array_equal(drawn[0, 0].numpy(), page_pixels(page, tier, style))


def test_classes_tell_narrow_wide_and_halves() -> None:
    alphabet = Alphabet(" ab", "中文")
    drawer = Drawer(alphabet)
    pairs = torch.tensor([[1, 2], [3, 5], [4, 6], [5, 3], [3, 6]]) * 4 + 2
    classes, wide = drawer.classes(pairs)
    assert classes.tolist() == [[1, 2], [3, 4], [3, 4], [4, 3], [3, 4]]
    assert wide[:, 0].tolist() == [-1, 0, 1, -1, -1]


def test_held_out_documents_are_no_lessons() -> None:
    documents = ["# requests/api.py\nx", "# rich/x.py\ny", "用户：你好", "Once upon a time"]
    lessons, held = hold_out(documents)
    assert lessons == ["# rich/x.py\ny", "Once upon a time"] and len(held) == 2


def test_a_corpus_that_is_no_text_is_refused(tmp_path: Path) -> None:
    for name, content in (("a.txt", b"\xff\xfe"), ("b.xz", b"no xz"), ("c.txt", b"\f\n\f")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            read_documents(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        read_documents(tmp_path / "none")


def test_pages_of_noise_and_text_are_seeded() -> None:
    drawer = Drawer(find_alphabet(["some text " * 500]))
    first, again, other = (page_grids(["some text " * 500], drawer, 2, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert len({next(noise(["a b c"], random.Random(seed))) for seed in range(8)}) > 4


# Tokens


@settings(max_examples=50)
@given(st.text())
def test_every_text_is_tokens_and_back(text: str) -> None:
    tokenizer = _tokenizer()
    text = text.encode("utf-8", "ignore").decode()
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_bytes_are_no_marks() -> None:
    tokenizer = _tokenizer()
    ids = tokenizer.encode("<0x41>").ids
    assert tokenizer.decode(ids) == "<0x41>" and len(ids) > 1
    assert [tokenizer.token_to_id(mark) for mark in marks()] == list(range(len(marks())))


def _tokenizer() -> Tokenizer:
    if not _TOKENIZERS:
        _TOKENIZERS.append(train_tokenizer(["some text of words " * 20], Alphabet(" a", ""), 700))
    return _TOKENIZERS[0]


_TOKENIZERS: list[Tokenizer] = []


# The checkpoint in the package


@pytest.mark.parametrize("tier", POSITIONS)
def test_it_has_deepseek_ocrs_positions(nano: LocalReader, tier: Tier) -> None:
    page = page_of("words " * 300)
    picture = nano.picture(page, tier)
    [(_, tokens)] = nano.encode({nano.key(picture.name, tier): picture})
    assert tokens.shape == (1, POSITIONS[tier], WIDTH)


@pytest.mark.parametrize("tier", POSITIONS)
@pytest.mark.parametrize("kind", ["prose", "json", "ids"])
def test_it_reads_pages_that_it_never_saw(nano: LocalReader, tier: Tier, kind: str) -> None:
    page = pages_of(turns_of(kind, seed=77))[0]
    rows = nano.read(page, tier, how="cells").split("\n")
    wrong = sum(
        a != b
        for row, line in zip(page.rows, rows, strict=True)
        for a, b in zip(row.ljust(COLUMNS), line.ljust(COLUMNS), strict=False)
    )
    assert wrong <= {Tier.SMALL: 20, Tier.TINY: 80}.get(tier, 2)


@pytest.mark.parametrize("tier", [Tier.BASE, Tier.TINY])
def test_its_decoder_reads_rows(nano: LocalReader, tier: Tier) -> None:
    page = pages_of(turns_of("ids", seed=77))[0]
    picture = nano.picture(page, tier)
    [(_, tokens)] = nano.encode({nano.key(picture.name, tier): picture})
    some = [0, 21, 42, 63]
    read = read_rows(nano.model, nano.tokenizer, tokens[0], some)
    stood = [page.rows[row].rstrip() for row in some]
    wrong = sum(map(Levenshtein.distance, stood, read))
    assert wrong <= {Tier.TINY: 8}.get(tier, 1)


def test_its_decoder_finds_a_line_among_pages(nano: LocalReader) -> None:
    pages = [pages_of(turns_of(kind))[0] for kind in ("prose", "json")]
    write = nano.write
    shown = [write.image(nano.picture(page, Tier.SMALL)) for page in pages]
    inputs = nano.prompt([write.start(False), *shown, write.line("What was said last.")])
    line = pages[1].rows[40].rstrip()
    assert find_line(nano, inputs, " ".join(line.split(" ")[:3])) == line
    assert find_line(nano, inputs, "Zyx wvu tsrqponm") is None
    with pytest.raises(InputError, match="begins with"):
        find_line(nano, inputs, " ")


def test_it_reads_chinese_at_base(nano: LocalReader) -> None:
    path = ROOT / "tests/transcripts/zh_crosswoz.json"
    messages = json.loads(path.read_text("utf-8"))["messages"]
    page = pages_of([parse(m, default_id=str(n)) for n, m in enumerate(messages)])[0]
    rows = nano.read(page, Tier.BASE, how="cells").split("\n")
    stood, read = "\n".join(row.rstrip() for row in page.rows), "\n".join(rows)
    assert Levenshtein.distance(stood, read) <= 0.01 * len(stood)


def test_gundam_is_large_and_base(nano: LocalReader) -> None:
    page = page_of("words " * 300)
    encoded = {}
    for tier in (Tier.GUNDAM, Tier.LARGE, Tier.BASE):
        picture = nano.picture(page, tier)
        [(_, encoded[tier])] = nano.encode({nano.key(picture.name, tier): picture})
    large, base = encoded[Tier.LARGE][:, :-1], encoded[Tier.BASE]
    assert torch.allclose(encoded[Tier.GUNDAM], torch.cat([large, base], 1))


def test_other_models_have_no_cell_reader(tmp_path: Path) -> None:
    other = LocalReader.load(str(save_checkpoint("deepseek-ocr", tmp_path)))
    with pytest.raises(InputError, match="no cell reader"):
        other.read(page_of("words " * 300), Tier.TINY, how="cells")
    with pytest.raises(InputError, match="finds no lines"):
        find_line(other, other.prompt([other.write.line("words")]), "words")


def test_a_memory_is_spliced_into_its_decoder(nano: LocalReader) -> None:
    with Memory.open("memory://") as memory:
        for number in range(60):
            memory.append({"role": "user", "content": f"Fact {number}: {'words and more ' * 40}"})
        context = memory.context(reader=nano, budget=4000)
        inputs = context.model_inputs()
        written = nano.model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert inputs["input_ids"].shape[1] == context.tokens <= 4000
    assert written.shape[1] == context.tokens + 3


# Training


@pytest.mark.long
@pytest.mark.timeout(900)
def test_it_learns_to_read_cells(tmp_path: Path) -> None:
    """From the seed, on two hundred small batches: most cells are read, in each mode."""
    corpus, folder = tmp_path / "corpus.txt", tmp_path / "nano"
    texts = [turn.text for kind in ("prose", "code", "json") for turn in turns_of(kind)]
    corpus.write_text("\f".join(texts), "utf-8")
    line = train(corpus, folder, 30, steps=200, pages=20, size=256, say=lambda text: None)
    assert line["base right"] > 0.6 and line["tiny right"] > 0.2  # 1 in 400 by chance
    again = train(corpus, folder, 30, steps=20, pages=20, size=256, say=lambda text: None)
    assert again["base loss"] < line["base loss"] + 1  # goes on from its weights
    curve = [json.loads(row) for row in (folder / "log.jsonl").read_text().splitlines()]
    assert {row["lesson"] for row in curve} == {"cells"}


def test_a_step_of_either_lesson_changes_only_its_part(tmp_path: Path) -> None:
    corpus, folder = tmp_path / "corpus.txt", tmp_path / "nano"
    corpus.write_text("\f".join(turn.text for turn in turns_of("prose")), "utf-8")
    options = {"steps": 1, "pages": 2, "modes": [Tier.TINY], "say": lambda text: None}
    train(corpus, folder, 1, lesson="cells", size=16, **options)  # type: ignore[arg-type]
    before = _weights(folder)
    train(corpus, folder, 1, lesson="characters", size=16, **options)  # type: ignore[arg-type]
    after = _weights(folder)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    learned = tuple(name.replace("language_model.", "") for name in LEARNED)  # as v1's keys name it
    assert changed and all(name.startswith(learned) for name in changed)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_release_is_small_and_reads_alike(tmp_path: Path) -> None:
    corpus, folder = tmp_path / "corpus.txt", tmp_path / "nano"
    corpus.write_text("some words " * 300, "utf-8")
    begin(folder, read_documents(corpus), seed=3)
    size = release(folder, tmp_path / "out")
    assert size < 0.3 * (folder / "model.safetensors").stat().st_size
    parts = cut(tmp_path / "out" / "model.safetensors", 1 << 20)
    assert sum(part.stat().st_size for part in parts) == size
    joined = b"".join(part.read_bytes() for part in sorted(parts))
    (tmp_path / "out" / "model.safetensors").write_bytes(joined)
    page = page_of("words " * 300)
    read = [LocalReader.load(str(f)).read(page, how="cells") for f in (folder, tmp_path / "out")]
    assert len(read[0]) > 0 and read[0].count("\n") == read[1].count("\n") == ROWS - 1
