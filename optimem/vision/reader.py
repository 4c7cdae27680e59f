"""LocalReader: a model that runs here and takes old pages as vision tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby, islice
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from optimem.errors import InputError, ReaderError
from optimem.modes import Tier
from optimem.readers import Profile
from optimem.renderers.layout import PageStyle
from optimem.renderers.page import page_pixels
from optimem.stores import Queue, Store
from optimem.values import Page, Scope
from optimem.vision.checkpoint import Checkpoint, load_checkpoint, weights_hash
from optimem.vision.encoder import Encoder
from optimem.vision.inputs import ModelInputs, Placed, Row
from optimem.vision.prompt import Picture, Piece, Positions, Writer
from optimem.vision.session import Image, VisionSession
from optimem.vision.tokens import Precision, TokenKey, pack, unpack

_LOOP_GUARD = 35  # no run of so many tokens twice: what DeepSeek-OCR's own evaluation uses


class LocalReader:
    """A vision-language model of yours, as a reader of contexts.

    Args:
        checkpoint: the loaded model; see `LocalReader.load`.
        precision: how vision tokens are kept: "bf16" (exact for models that run in it), "int8"
            (half of that), or "fp32".
        batch: how many pages are encoded at once.
        patience: with 0 this reader encodes what it is shown. With more, pages are left to
            `optimem worker` processes, those of the next epoch ahead of it; when for so many
            seconds none comes back, this reader encodes them after all.
        lease: seconds after which what a silent process has begun is begun by another.
        compile: have the encoder compiled (`torch.compile`; on a GPU with CUDA graphs): worth
            its minutes for a worker that encodes many pages.

    Attributes:
        model: transformers' model.
        tokenizer: its tokenizer.
        encoder: its eyes.
        write: writes its prompts.
        profile: what pages and text cost it, in positions of its decoder.
        work: how many images were "encoded", found "stored", or were "at hand".
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        precision: Precision = "bf16",
        batch: int = 8,
        patience: float = 0,
        lease: float = 30,
        compile: bool = False,
    ) -> None:
        if batch < 1:
            raise InputError("a batch is at least 1 page")
        if patience < 0 or lease <= 0:
            raise InputError("patience is 0 or more seconds, and a lease is longer than 0")
        self.encoder = checkpoint.encoder
        self.model = checkpoint.encoder.model
        self.tokenizer = checkpoint.tokenizer
        self.write = Writer(checkpoint.tokenizer, checkpoint.frames, checkpoint.encoder)
        positions = Positions(self.write)
        self.work: Counter[str] = Counter()
        self._precision: Precision = precision
        self.batch = batch
        self.patience = patience
        self.lease = lease
        self._is_compiled = compile
        if compile:
            self.encoder.compile()
        self.profile = Profile(
            name=f"local:{self.encoder.name}/{checkpoint.name}",
            provider="local",
            format="openai",
            rule=positions.image,
            modes=dict.fromkeys(self.encoder.layouts),
            levels={tier.label: {"mode": tier} for tier in self.encoder.layouts},
            window=_window(self.model.config),
            counter=positions,
            note="Positions of the decoder, counted with its own tokenizer.",
        )

    @classmethod
    def load(
        cls,
        name_or_path: str,
        *,
        device: str | None = None,
        dtype: Any = "auto",
        precision: Precision = "bf16",
        batch: int = 8,
        patience: float = 0,
        lease: float = 30,
        compile: bool = False,
    ) -> LocalReader:
        """Load a model from a folder or from the Hugging Face hub.

        Nothing but safetensors, a tokenizer and configurations is read; no code of the
        checkpoint's is run.

        Args:
            name_or_path: "nano" (shipped with OptiMem), a folder, or a name on the hub.
            device: where it runs; a GPU if there is one, else the CPU.
            dtype: torch data type; "auto" takes the checkpoint's.
            precision: see `LocalReader`, as for the rest.
            batch: pages that are encoded at once.
            patience: seconds to wait for workers.
            lease: seconds after which a silent process's work passes on.
            compile: have the encoder compiled.

        Raises:
            ReaderError: it cannot be loaded; the message lists what can.
        """
        checkpoint = load_checkpoint(name_or_path, device, dtype)
        return cls(
            checkpoint,
            precision=precision,
            batch=batch,
            patience=patience,
            lease=lease,
            compile=compile,
        )

    def open(self, store: Store, scope: Scope, style: PageStyle, image: Image) -> VisionSession:
        """This reader's view of one session; `Memory.context` calls it."""
        return VisionSession(self, store, scope, style, image)

    # Reading back

    def read(
        self,
        page: Page,
        tier: Tier = Tier.BASE,
        *,
        how: Literal["decoder", "cells"] = "decoder",
        prompt: str | None = None,
        style: PageStyle | None = None,
        max_tokens: int = 4096,
    ) -> str:
        """What the model reads on a page.

        Args:
            page: a sealed page.
            tier: the mode in which it is shown.
            how: "decoder" lets the decoder write the page down. "cells", which optimem-nano
                alone has, reads all characters from the vision tokens in one pass.
            prompt: what is asked; the model's own words for reading a page by default. With
                GOT-OCR2, `part_prompt` asks for a box or a colour.
            style: how pages are drawn.
            max_tokens: longest answer.

        Raises:
            InputError: the model does not read that mode, or not so.
            ReaderError: the model failed.
        """
        if prompt is None:
            rows = self._read_rows(self.picture(page, tier, style), how)
            if rows is not None:
                return "\n".join(rows)
        words = self.encoder.reading if prompt is None else prompt
        inputs = self.prompt(self.write.question(self.picture(page, tier, style), words))
        [row] = inputs.rows
        room = (self.profile.window or max_tokens + len(row.ids)) - len(row.ids)
        with torch.inference_mode():
            ids = self.model.generate(
                **inputs,
                max_new_tokens=max(min(max_tokens, room), 1),
                do_sample=False,
                no_repeat_ngram_size=_LOOP_GUARD,
                eos_token_id=self._stops,
                pad_token_id=self._pad,
            )
        text: str = self.tokenizer.decode(ids[0, len(row.ids) :], skip_special_tokens=True)
        return text.strip()

    def _read_rows(self, picture: Picture, how: str) -> list[str] | None:
        """A page's rows from its vision tokens alone, if the model reads so."""
        if how != "cells" and type(self.encoder).read_lines is Encoder.read_lines:
            return None
        [(_, tokens)] = self.encode({self.key(picture.name, picture.tier): picture})
        if how == "cells":
            return self.encoder.read_cells(tokens, picture.tier)
        return self.encoder.read_lines(self.tokenizer, tokens)

    # Vision tokens

    @cached_property
    def weights(self) -> str:
        """Hash of the encoder's weights."""
        return weights_hash(self.model)

    def key(self, name: str, tier: Tier) -> TokenKey:
        """What the vision tokens of an image (its hash) in a mode are stored under."""
        return TokenKey(self.encoder.name, self.weights, tier, name, self._precision)

    def queue(self, namespace: str) -> Queue:
        """Where pages of a namespace are left to workers with this very encoder."""
        return Queue(namespace, f"{self.encoder.name}/{self.weights}/{self._precision}")

    def shape(self, tier: Tier) -> tuple[int, int, int]:
        """Of an image's vision tokens: planes, placeholders, width; raises InputError."""
        count = sum(part for part in self.write.layout(tier) if isinstance(part, int))
        return self.encoder.planes, count, self.model.get_input_embeddings().embedding_dim

    def picture(self, page: Page, tier: Tier, style: PageStyle | None = None) -> Picture:
        """A page to be encoded; it is drawn in each size that the mode needs."""
        return Picture(page.hash, tier, lambda view: page_pixels(page, view, style)[None])

    def encode(self, pictures: Mapping[TokenKey, Picture]) -> Iterator[tuple[TokenKey, Tensor]]:
        """Vision tokens (planes, placeholders, width) of each picture, a batch at a time.

        Raises:
            InputError: a picture of another size than its mode's.
            ReaderError: the model ran out of memory, or gave tokens of another shape.
        """
        ordered = sorted(pictures.items(), key=lambda item: item[0].tier)
        for tier, group in groupby(ordered, key=lambda item: item[0].tier):
            while items := list(islice(group, self.batch)):
                found = self._encode([picture for _, picture in items], tier)
                self.work["encoded"] += len(items)
                yield from zip((key for key, _ in items), found, strict=True)

    def placed(self, piece: Piece, start: int, tokens: Tensor) -> Placed:
        """Where an image's tokens stand in a prompt that goes on with `piece` at `start`."""
        if piece.picture is None:
            raise InputError("a piece of text has no place for vision tokens")
        token = self.model.config.image_token_id
        places = [start + n for n, each in enumerate(piece.ids) if each == token]
        key = str(self.key(piece.picture.name, piece.picture.tier))
        return Placed(key, piece.picture.tier, places[0], places[-1] + 1, tokens)

    def inputs(self, rows: Sequence[Row]) -> ModelInputs:
        """Prompts as the model takes them."""
        return ModelInputs(self.encoder, rows, self._pad)

    def prompt(self, pieces: Iterable[Piece]) -> ModelInputs:
        """A prompt of pieces that `write` made, with the vision tokens of their images."""
        return self.inputs([self._row(pieces)])

    def _row(self, pieces: Iterable[Piece]) -> Row:
        ids: list[int] = []
        images: list[Placed] = []
        for piece in pieces:
            if piece.picture is not None:
                key = self.key(piece.picture.name, piece.picture.tier)
                ((_, tokens),) = self.encode({key: piece.picture})
                kept = unpack(pack(tokens, key), key, self.shape(key.tier))
                images.append(self.placed(piece, len(ids), kept))
            ids += piece.ids
        return Row(tuple(ids), tuple(images), ())

    def _encode(self, pictures: Sequence[Picture], tier: Tier) -> Tensor:
        shape = self.shape(tier)
        views = []
        for view in self.encoder.views(tier):
            drawn = [torch.from_numpy(np.ascontiguousarray(p.draw(view))) for p in pictures]
            wrong = [p for p in drawn if p.shape[1:] != (view.side, view.side)]
            if wrong:
                raise InputError(
                    f"{tuple(wrong[0].shape[1:])} pixels are no {view.label} image:"
                    f" that has {view.side} x {view.side}"
                )
            drawn += drawn[-1:] * (self._room(len(drawn)) - len(drawn))
            views.append(torch.stack([p.expand(3, -1, -1) for p in drawn]))
        try:
            tokens = self.encoder.run(views, tier)[: len(pictures)]
        except torch.OutOfMemoryError as error:
            raise ReaderError(
                f"no memory for {len(pictures)} {tier.label} pages at once: load the reader with"
                f" a smaller batch than {self.batch} ({error})"
            ) from None
        if tuple(tokens.shape[1:]) != shape:
            raise ReaderError(
                f"{self.encoder.name} gave {tuple(tokens.shape[1:])} for a {tier.label} page,"
                f" not {shape}: its configuration does not fit its code"
            )
        return tokens

    def _room(self, count: int) -> int:
        """How many pages are encoded for so many: few numbers, if each has to be compiled."""
        return min(1 << (count - 1).bit_length(), self.batch) if self._is_compiled else count

    @property
    def _pad(self) -> int:
        return next((i for i in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id) if i), 0)

    @property
    def _stops(self) -> list[int]:
        """Tokens that end an answer: the tokenizer's and the one that ends a message."""
        behind = self.write.frames.roles["assistant"][1]
        ends = self.tokenizer(behind, add_special_tokens=False)["input_ids"][:1]
        added = self.tokenizer.added_tokens_decoder
        stops = {self.tokenizer.eos_token_id, *(i for i in ends if i in added)}
        return sorted(i for i in stops if i is not None)


def _window(config: Any) -> int | None:
    """Most positions that the decoder was made for."""
    window = getattr(config.get_text_config(), "max_position_embeddings", None)
    return None if window is None else int(window)
