"""A local model as the reader of a memory: counted exactly, encoded once, failing safely."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import vision_models
from PIL import Image
from torch import Tensor

from optimem import Memory, Tier
from optimem.errors import BudgetError, InputError, ReaderError
from optimem.messages import parse
from optimem.policies import AgeDecay, Epochs, Pinned, Salience, Situation, TokenBudget
from optimem.renderers.layout import PageStyle
from optimem.stores import open_store
from optimem.values import Plan, Scope
from optimem.vision import LocalReader, ModelInputs, Past, part_prompt
from optimem.vision.checkpoint import load_checkpoint
from optimem.vision.prompt import Picture, Positions, square

pytestmark = pytest.mark.usefixtures("one_thread")
WORDS = vision_models.WORDS.split()
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    kinds = ("deepseek-ocr", "qwen3-vl", "got-ocr2", "smolvlm")
    return {
        kind: vision_models.save_checkpoint(kind, tmp_path_factory.mktemp(kind)) for kind in kinds
    }


@pytest.fixture
def reader(folders: dict[str, Path]) -> LocalReader:
    return LocalReader.load(str(folders["deepseek-ocr"]), device="cpu")


def words(seed: int, count: int = 150) -> str:
    return " ".join(WORDS[(seed * 7 + n * n + n // 3) % len(WORDS)] for n in range(count))


def fill(memory: Memory, start: int, stop: int) -> None:
    roles = ("user", "assistant")
    memory.extend(
        parse({"role": roles[n % 2], "content": words(n)}, id=f"t{n}") for n in range(start, stop)
    )


def inputs_of(memory: Memory, reader: LocalReader, budget: int | None = None) -> ModelInputs:
    inputs = memory.context(reader=reader, budget=budget).model_inputs()
    assert isinstance(inputs, ModelInputs)
    return inputs


def recorded(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[tuple[Any, ...]]:
    """The positional arguments of every call of a method from now on."""
    calls: list[tuple[Any, ...]] = []
    method = getattr(owner, name)

    def watched(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        return method(*arguments, **named)

    monkeypatch.setattr(owner, name, watched)
    return calls


@pytest.mark.parametrize("kind", ["deepseek-ocr", "qwen3-vl", "got-ocr2", "smolvlm"])
@pytest.mark.parametrize("budget", [6000, 12_000])
def test_a_contexts_tokens_are_the_decoders_positions(
    folders: dict[str, Path], kind: str, budget: int
) -> None:
    """System, tools, notes, captions, pages, calls, names and images: all of it, exactly."""
    reader = LocalReader.load(str(folders[kind]), device="cpu")
    picture = io.BytesIO()
    Image.new("RGB", (300, 200), "red").save(picture, "PNG")
    with Memory.open("memory://") as memory:
        memory.append({"role": "system", "content": "Be brief."})
        fill(memory, 0, 30)
        call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        memory.append({"role": "assistant", "content": None, "tool_calls": [call]})
        memory.append({"role": "tool", "tool_call_id": "c1", "content": "a <image> of 東京"})
        url = "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()
        image = {"type": "image_url", "image_url": {"url": url}}
        linked = {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}
        memory.append(
            {
                "role": "user",
                "name": "ann",
                "content": [{"type": "text", "text": "?"}, image, linked],
            }
        )
        for tools, system in (((), None), (TOOLS, "Answer in French.")):
            context = memory.context(reader=reader, budget=budget, tools=tools, system=system)
            inputs = context.model_inputs()
            assert inputs["input_ids"].shape[1] == context.tokens <= budget
            by_segment = Counter[int]()
            for span in inputs.spans:  # type: ignore[attr-defined]
                by_segment[id(span.segment)] += span.stop - span.start
            for segment in context.segments:
                assert by_segment[id(segment)] == segment.tokens
        assert any(segment.kind == "page" for segment in context.segments)
        text = reader.tokenizer.decode(inputs["input_ids"][0])
        assert "[image https://example.org/x.png]" in text and "ann:" in text


def test_pages_are_encoded_once_and_an_append_encodes_nothing(reader: LocalReader) -> None:
    with Memory.open("memory://") as memory:
        fill(memory, 0, 30)
        first = memory.context(reader=reader, budget=9000)
        shown = sum(segment.kind == "page" for segment in first.segments)
        first.model_inputs()
        assert reader.work["encoded"] == shown > 1
        past: Any = first.model_inputs()
        memory.append({"role": "user", "content": "one more"})
        second = memory.context(reader=reader, budget=9000)
        assert second.plan == first.plan
        inputs = second.model_inputs()
        assert reader.work["encoded"] == shown
        assert torch.equal(inputs["input_ids"][:, : past["input_ids"].shape[1]], past["input_ids"])
        with torch.inference_mode():
            out = reader.model(**past)
            whole = reader.model(**inputs).logits[:, -1]
            rest = second.model_inputs(past.past(out.past_key_values))
            assert rest["input_ids"].shape[1] == len(reader.write.line("one more").ids)
            assert torch.allclose(reader.model(**rest).logits[:, -1], whole, atol=1e-2)


@pytest.mark.parametrize("kind", ["deepseek-ocr", "qwen3-vl"])
def test_a_conversation_goes_on_from_the_cache_of_its_last_answer(
    folders: dict[str, Path], kind: str
) -> None:
    """Answers are those of a full prefill, over an epoch too; between epochs little is read."""
    reader = LocalReader.load(str(folders[kind]), device="cpu")
    past: Past | None = None
    read: list[int] = []
    with Memory.open("memory://") as memory:
        fill(memory, 0, 24)
        for turn in range(5):
            memory.append({"role": "user", "content": words(turn, 200 if turn == 3 else 20)})
            context = memory.context(reader=reader, budget=7000)
            whole, rest = context.model_inputs(), context.model_inputs(past)
            assert isinstance(rest, ModelInputs)
            out = generate(reader, rest)
            new = out.sequences[0, rest["input_ids"].shape[1] :]
            full = generate(reader, whole).sequences[0, whole["input_ids"].shape[1] :]
            assert torch.equal(new, full)
            past = rest.past(out.past_key_values)
            read.append(rest["input_ids"].shape[1])
            memory.append({"role": "assistant", "content": reader.tokenizer.decode(new)})
    assert min(read[1:]) < read[0] / 10


def generate(reader: LocalReader, inputs: Any) -> Any:
    with torch.inference_mode():
        return reader.model.generate(
            **inputs,
            max_new_tokens=6,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=2,
            return_dict_in_generate=True,
        )


def test_images_beside_pages_are_counted_and_spliced(reader: LocalReader) -> None:
    """An image of an old turn stands beside its page, in a mode that fades with it."""
    with Memory.open("memory://") as memory:
        url = "data:image/png;base64," + base64.b64encode(png(900, 600)).decode()
        image = {"type": "image_url", "image_url": {"url": url}}
        memory.append({"role": "user", "content": [{"type": "text", "text": words(1)}, image]})
        fill(memory, 0, 30)
        context = memory.context(reader=reader, budget=14_000)
        inputs = context.model_inputs()
        beside = [segment for segment in context.segments if segment.kind == "attachment"]
        assert len(beside) == 1 and beside[0].tokens in (274, 112, 74)
        assert inputs["input_ids"].shape[1] == context.tokens
        images = sum(segment.kind in ("page", "attachment") for segment in context.segments)
        assert len(inputs["mm_encoder_outputs"]["image"].pooler_output) == images


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_turn_in_a_session_of_a_thousand_pages_touches_only_what_is_new(
    reader: LocalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Memory.open("memory://") as memory:
        for start in range(0, 10_500, 500):
            fill(memory, start, start + 500)
        inputs_of(memory, reader, 12_000)
        assert len(memory.pages()) >= 1000
        encoded = reader.work["encoded"]
        counted = recorded(monkeypatch, Positions, "turn")
        pages = recorded(monkeypatch, type(memory.store), "page")
        memory.append({"role": "user", "content": "short"}, id="new")
        context = memory.context(reader=reader, budget=12_000)
        context.model_inputs()
        assert [turn.id for _, turn in counted] == ["new"]
        assert reader.work["encoded"] == encoded
        shown = sum(segment.kind in ("page", "page_text") for segment in context.segments)
        assert len(pages) <= shown + 2


def test_each_turn_and_page_is_counted_once(
    reader: LocalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn costs what is new, not what the session holds: counted, not timed."""
    counted = recorded(monkeypatch, Positions, "turn")
    with Memory.open("memory://") as memory:
        fill(memory, 0, 40)
        inputs_of(memory, reader, 6000)
        assert sorted(turn.id for _, turn in counted) == sorted(f"t{n}" for n in range(40))
        before = reader.work["encoded"]
        for n in range(40, 43):
            counted.clear()
            memory.append({"role": "user", "content": "short"}, id=f"t{n}")
            inputs_of(memory, reader, 6000)
            assert [turn.id for _, turn in counted] == [f"t{n}"]
        assert reader.work["encoded"] == before


def test_processes_share_stored_tokens(folders: dict[str, Path], tmp_path: Path) -> None:
    """A second reader, as in another process, finds every page stored and gets the same values."""
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    folder = str(folders["deepseek-ocr"])
    with Memory.open(url, session="s") as memory:
        fill(memory, 0, 30)
        one = LocalReader.load(folder, device="cpu", precision="int8")
        first = inputs_of(memory, one, 9000)
    with Memory.open(url, session="s") as memory:
        other = LocalReader.load(folder, device="cpu", precision="int8")
        second = inputs_of(memory, other, 9000)
    assert one.work["encoded"] > 1 and other.work["encoded"] == 0
    assert other.work["stored"] == one.work["encoded"]
    for a, b in zip(tokens_of(first), tokens_of(second), strict=True):
        assert torch.equal(a, b)


def tokens_of(inputs: ModelInputs) -> list[Tensor]:
    return list(inputs["mm_encoder_outputs"]["image"].pooler_output)


def test_damaged_tokens_are_encoded_again(
    reader: LocalReader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'x.db'}")
    memory = Memory(store, Scope("n", "s"))
    fill(memory, 0, 30)
    first = inputs_of(memory, reader, 9000)
    page = memory.pages()[0]
    tier = memory.context(reader=reader, budget=9000).plan.tier(0)
    key = reader.key(page.hash, tier)
    good = store.blob(memory.scope, str(key))
    assert good is not None
    store.drop_blobs(memory.scope, [str(key)])
    store.put_blob(memory.scope, str(key), good[:-1] + bytes([good[-1] ^ 1]))
    before = reader.work["encoded"]
    again = Memory(store, memory.scope)
    second = inputs_of(again, reader, 9000)
    assert reader.work["encoded"] == before + 1
    assert "its checksum does not hold; encoding it again" in caplog.text
    assert store.blob(memory.scope, str(key)) == good
    for a, b in zip(tokens_of(first), tokens_of(second), strict=True):
        assert torch.equal(a, b)


def test_forgotten_pages_leave_no_tokens(reader: LocalReader, tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'x.db'}")
    memory = Memory(store, Scope("n", "s"))
    fill(memory, 0, 30)
    inputs_of(memory, reader, 9000)
    keys = [str(reader.key(page.hash, tier)) for page in memory.pages() for tier in Tier]
    assert any(store.blob(memory.scope, key) for key in keys)
    memory.forget(["t0"])
    assert not any(store.blob(memory.scope, key) for key in keys)


class OneRung:
    """Every page in one mode, which a test can change."""

    def __init__(self) -> None:
        self.tier = Tier.BASE

    def __repr__(self) -> str:
        return "OneRung()"

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        moved = situation.move(Plan(), situation.frontiers[-1])
        return Plan((self.tier,) * len(moved.tiers), moved.frontier, False, plan.epoch + 1)


def test_a_demotion_encodes_before_the_plan_switches(
    reader: LocalReader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """When encoding fails, the last good plan and its tokens stay; then the next try goes on."""
    store = open_store(f"sqlite:///{tmp_path / 'x.db'}")
    policy = OneRung()
    memory = Memory(store, Scope("n", "s"), policy=policy)
    fill(memory, 0, 30)
    inputs_of(memory, reader, 9000)
    plans = store.plans(memory.scope)
    pages = memory.pages()
    old = [str(reader.key(page.hash, Tier.BASE)) for page in pages]
    kept = [store.blob(memory.scope, key) for key in old]
    policy.tier = Tier.TINY

    def full(self: Any, views: Sequence[Tensor], tier: Tier) -> Tensor:
        raise torch.OutOfMemoryError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(type(reader.encoder), "encode", full)
        with pytest.raises(ReaderError, match=r"no memory for \d+ tiny pages.*batch than 8"):
            memory.context(reader=reader, budget=9000)
    assert store.plans(memory.scope) == plans
    assert [store.blob(memory.scope, key) for key in old] == kept
    context = memory.context(reader=reader, budget=9000)
    assert set(context.plan.tiers) == {Tier.TINY}
    assert not any(store.blob(memory.scope, key) for key in old)


def test_a_faded_picture_leaves_the_store(reader: LocalReader) -> None:
    url = "data:image/png;base64," + base64.b64encode(png(900, 600)).decode()
    policy = OneRung()
    with Memory.open("memory://", policy=policy) as memory:
        memory.append(
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
        )
        fill(memory, 0, 12)
        kept = []
        for policy.tier in (Tier.BASE, Tier.TINY):
            inputs_of(memory, reader, 9000)
            names = (name for place, name in memory.store.stored(memory.scope) if place == "blob")
            kept.append(sum(name.startswith(b"image/") for name in names))
        assert kept == [1, 0]


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_misses_are_encoded_a_batch_at_a_time(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    reader = LocalReader.load(str(folders["deepseek-ocr"]), device="cpu", batch=batch)
    calls = recorded(monkeypatch, type(reader.encoder), "encode")
    with Memory.open("memory://") as memory:
        fill(memory, 0, 30)
        session = reader.open(memory.store, memory.scope, PageStyle(), lambda _: ("", b""))
        pages = memory.pages()
        session.encode((page.number, page.hash, Tier.TINY) for page in pages)
    sizes = [len(views[0]) for _, views, _ in calls]
    assert sum(sizes) == len(pages) and max(sizes) <= batch
    assert len(sizes) == -(-len(pages) // batch)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_compiled_encoder_gives_the_same_tokens(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced as for a GPU, but run as it is: compiling for a CPU takes minutes."""

    def trace(module: Any, **options: Any) -> None:
        assert options["dynamic"] is False
        module._compiled_call_impl = torch.compile(module._call_impl, backend="eager")

    folder = str(folders["deepseek-ocr"])
    plain = LocalReader.load(folder, device="cpu", batch=4)
    monkeypatch.setattr(torch.nn.Module, "compile", trace)
    compiled = LocalReader.load(folder, device="cpu", batch=4, compile=True)
    calls = recorded(monkeypatch, type(compiled.encoder), "encode")
    with Memory.open("memory://") as memory:
        fill(memory, 0, 60)
        pages = [memory.page(number) for number in range(3)]
    pictures = {plain.key(p.hash, Tier.TINY): plain.picture(p, Tier.TINY) for p in pages}
    fast = dict(compiled.encode(pictures))
    assert [len(views[0]) for _, views, _ in calls] == [4]  # filled up: few shapes to compile
    assert compiled.weights == plain.weights and compiled.work["encoded"] == 3
    for key, tokens in plain.encode(pictures):
        assert torch.allclose(fast[key], tokens, atol=1e-5)


def test_a_hosted_reader_has_no_model_inputs() -> None:
    with Memory.open("memory://") as memory:
        fill(memory, 0, 2)
        with pytest.raises(InputError, match="takes messages: see request"):
            memory.context(reader="openai:gpt-4o").model_inputs()


def test_the_window_is_the_models(reader: LocalReader) -> None:
    with Memory.open("memory://") as memory:
        fill(memory, 0, 4)
        with pytest.raises(BudgetError, match="takes at most 16384 tokens"):
            memory.context(reader=reader, budget=20_000)
        assert memory.context(reader=reader).budget == 16384


def test_modes_that_a_model_does_not_read_are_said(folders: dict[str, Path]) -> None:
    got = LocalReader.load(str(folders["got-ocr2"]), device="cpu")
    with Memory.open("memory://") as memory:
        fill(memory, 0, 30)
        with pytest.raises(InputError, match="does not read base pages: use tiny"):
            got.read(memory.page(0), Tier.BASE)
        session = got.open(memory.store, memory.scope, PageStyle(), lambda _: ("", b""))
        with pytest.raises(InputError, match="does not read base pages"):
            session.encode([(0, memory.page(0).hash, Tier.BASE)])


def test_pixels_of_another_size_are_refused(reader: LocalReader) -> None:
    wrong = Picture("x", Tier.TINY, lambda tier: square(png(10, 10), Tier.SMALL))
    with pytest.raises(InputError, match=r"\(640, 640\) pixels are no tiny image: that has 512"):
        list(reader.encode({reader.key("x", Tier.TINY): wrong}))


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (0, 0, 255)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("size", "tier"), [((512, 90), "tiny"), ((513, 9), "small"), ((9999, 100), "large")]
)
def test_attachments_stand_in_the_smallest_mode_that_holds_them(
    reader: LocalReader, size: tuple[int, int], tier: str
) -> None:
    mode = reader.write.image_tier(*size)
    assert mode.label == tier
    pixels = square(png(*size), mode)
    assert pixels.shape == (3, mode.side, mode.side)
    assert (pixels[:, 0, 0] == 127).all()
    assert tuple(pixels[:, mode.side // 2, mode.side // 2]) == (0, 0, 255)
    assert reader.profile.image_cost(*size) == reader.profile.page_cost(mode)


def test_reading_stops_loops_and_asks_in_the_models_words(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    for kind, opening in (
        ("deepseek-ocr", "<bos>"),
        ("got-ocr2", "<|im_start|>system\nYou should follow the instructions carefully"),
    ):
        reader = LocalReader.load(str(folders[kind]), device="cpu")
        generate = type(reader.model).generate

        def watched(self: Any, _generate: Any = generate, **arguments: Any) -> Any:
            asked.append(arguments)
            return _generate(self, **arguments)

        monkeypatch.setattr(type(reader.model), "generate", watched)
        with Memory.open("memory://") as memory:
            fill(memory, 0, 30)
            page = memory.page(0)
            said = reader.read(page, Tier.TINY, max_tokens=60)
            assert said == reader.read(page, Tier.TINY, max_tokens=60)
        prompt = reader.tokenizer.decode(asked[-1]["input_ids"][0])
        assert prompt.startswith(opening)
        assert reader.encoder.reading in prompt
        assert asked[-1]["no_repeat_ngram_size"] == 35 and not asked[-1]["do_sample"]
    got = reader
    got.read(page, Tier.TINY, prompt=part_prompt(box=(0, 0, 1000, 250)), max_tokens=1)
    assert "[0,0,1000,250] OCR: " in got.tokenizer.decode(asked[-1]["input_ids"][0])
    assert vision_models.IDS["<|im_end|>"] in asked[-1]["eos_token_id"]


def test_parts_of_a_page_are_boxes_or_colours() -> None:
    assert part_prompt() == "OCR: "
    assert part_prompt(color="red") == "[red] OCR: "
    with pytest.raises(InputError, match="is no box"):
        part_prompt(box=(10, 0, 10, 5))
    with pytest.raises(InputError, match="not by both"):
        part_prompt(box=(0, 0, 1, 1), color="blue")


def test_a_batch_is_at_least_one(folders: dict[str, Path]) -> None:
    checkpoint = load_checkpoint(str(folders["got-ocr2"]), "cpu", "auto")
    with pytest.raises(InputError, match="at least 1 page"):
        LocalReader(checkpoint, batch=0)


def test_epochs_keep_the_prefix_between_them(reader: LocalReader) -> None:
    """As the session grows, most contexts begin with all of the pages of the one before."""
    with Memory.open("memory://", policy=Epochs()) as memory:
        kept = []
        before: list[int] = []
        for start in range(0, 48, 4):
            fill(memory, start, start + 4)
            inputs = inputs_of(memory, reader, 8000)
            ids = inputs["input_ids"][0].tolist()
            kept.append(ids[: len(before)] == before)
            before = ids
        assert sum(kept) >= len(kept) * 0.6
        encoded = reader.work["encoded"]
        pages = len(memory.pages())
        assert encoded <= pages * 3


def test_turns_kept_as_text_are_counted_to_the_position(reader: LocalReader) -> None:
    ladder = AgeDecay(ladder=((Tier.BASE, 4), (Tier.TINY, 12)))
    steps = (ladder, Pinned(["t2", "t8", "t9"]), Salience(), TokenBudget())
    with Memory.open("memory://", policy=Epochs(steps)) as memory:
        fill(memory, 0, 60)
        context = memory.context(reader=reader, budget=8000)
        kinds = Counter(segment.kind for segment in context.segments)
        assert kinds["kept"] >= 3 and kinds["page"] > 1
        inputs = context.model_inputs()
        assert inputs["input_ids"].shape[1] == context.tokens <= 8000
