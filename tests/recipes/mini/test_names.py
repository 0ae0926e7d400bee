"""The lesson of names on a tiny model: its tables against the rules in words, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.processing.processor_config import processor_config
from recipes.mini.names import (
    UNKNOWN,
    NamedSource,
    NamesLesson,
    Phrase,
    all_phrases,
    phrase_states,
)
from recipes.mini.photographs import read_photographs
from recipes.nano.language.word_tokenizer import build_tokenizer
from tests.model.conftest import tiny_model

PHRASES = (
    Phrase("the dog", frozenset({"dog"})),
    Phrase("the cat", frozenset({"cat"})),
    Phrase("the animal", frozenset({"dog", "cat"})),
    Phrase("the grass", frozenset({"grass"})),
    Phrase("the horse", frozenset({"horse"})),
    Phrase("the main object", frozenset(), main=True),
)


def small() -> tuple[InstructSeg, InstructSegProcessor]:
    model = tiny_model(
        backbone_config={"model_type": "efficientnet_lite", "folded": True},
        vision_tower="shared",
        shared_clip_size=64,
        image_size=64,
        learned_queries=True,
        num_queries=12,
        vmtf_mode="paper",
        text_config={**_TEXT, "vocab_size": 400},
        lm_head_size=400,
    )
    tokenizer = build_tokenizer([phrase.text for phrase in PHRASES], 400)
    return model, InstructSegProcessor(tokenizer, processor_config(model.config, system=""))


_TEXT: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip


def source(root: Path, processor: InstructSegProcessor) -> NamedSource:
    return NamedSource(
        photographs=read_photographs(root, "train"),
        processor=processor,
        weights={"yard": 1.0, "thing": 1.0},
        count=4,
        seed=0,
        phrases=PHRASES,
    )


def test_a_phrase_says_of_which_categories_it_is_true() -> None:
    dog, *_, main = PHRASES
    assert [dog.says(kind) for kind in ("dog", "cat", "object")] == [1.0, 0.0, UNKNOWN]
    assert [main.says(kind) for kind in ("object", "dog")] == [1.0, UNKNOWN]
    assert Phrase("the person", frozenset({"person"})).says("hair") == UNKNOWN


def test_phrases_differ_and_name_something() -> None:
    texts = [phrase.text for phrase in all_phrases()]
    assert len(texts) > 900
    assert {"the dog", "dogs", "an airplane", "all the people", "what tells the time"} <= set(texts)
    assert "all the grasses" not in texts


def test_tables_say_what_is_known(root: Path) -> None:
    _, processor = small()
    made = source(root, processor)
    for index in range(5):
        batch, _ = made.batch(index)
        asked = [PHRASES[number].text for number in batch.phrases]
        for row, photograph in enumerate(made.names(index)):
            if photograph == "yard.png":
                at = asked.index("the cat")
                cats = (batch.named[row, :, at] == 1).sum()
                assert cats <= 1
                if "the horse" in asked:  # one of the names that nobody looked for there
                    assert batch.others[row, asked.index("the horse")] == UNKNOWN
            else:
                assert (batch.others[row] == UNKNOWN).all()
                assert batch.named[row, 0, asked.index("the main object")] == 1


def test_the_lesson_learns_which_name_is_whose(root: Path) -> None:
    torch.manual_seed(0)
    model, processor = small()
    states = phrase_states(model, processor, [phrase.text for phrase in PHRASES])
    assert states.shape == (len(PHRASES), 32)
    lesson = NamesLesson(model, states)
    made = source(root, processor)
    optimizer = torch.optim.AdamW([p for n, p in model.named_parameters() if "language" not in n], lr=2e-3)
    losses = []
    for step in range(24):
        optimizer.zero_grad()
        output = lesson(made.batch(step % 3)[0])
        output.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        losses.append(output.total.item())
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])
    assert set(output.parts) >= {"mask", "dice", "name", "pick", "which", "picked", "called"}


def test_a_view_without_regions_is_no_error(root: Path) -> None:
    model, processor = small()
    lesson = NamesLesson(model, phrase_states(model, processor, [phrase.text for phrase in PHRASES]))
    batch, _ = source(root, processor).batch(0)
    empty = replace(batch.views, masks=batch.views.masks & False, counts=(0,) * len(batch))
    output = lesson(replace(batch, views=empty))
    assert torch.isfinite(output.total)


def test_a_batch_moves_whole(root: Path) -> None:
    _, processor = small()
    batch, _ = source(root, processor).batch(0)
    moved = batch.to("meta")
    assert len(moved) == 4
    held = (moved.views.seg, moved.views.masks, moved.phrases, moved.named, moved.others)
    assert {tensor.device.type for tensor in held} == {"meta"}
