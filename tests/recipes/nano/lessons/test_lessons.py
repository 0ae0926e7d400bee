"""Each lesson learns a batch by heart, changes only its own part, and reads what it says it reads."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from instructseg.model import InstructSeg, preset
from instructseg.processing import InstructSegProcessor
from instructseg.structures import IGNORE_LABEL, Role, Task
from instructseg.training import new_processor
from recipes.nano.lessons import guidance, reading
from recipes.nano.lessons.codes import CODE_DIM, FIELDS
from recipes.nano.lessons.frames import FrameSource, view_of
from recipes.nano.lessons.guidance import assign, gather_around, missed
from recipes.nano.lessons.pages import PageSource, pages_of
from recipes.nano.lessons.reading import ReadingLesson, blurred
from recipes.nano.lessons.seeing import MaskLesson, PatchLesson
from recipes.nano.scenes.scenes import SceneConfig, draw_scene
from recipes.nano.synthetic import SceneBatches, SyntheticDataset

SMALL = SceneConfig(height=(64, 80), width=(64, 80), objects=(2, 3))


@pytest.fixture(scope="module")
def processor() -> InstructSegProcessor:
    return new_processor(preset("nano"))


@pytest.fixture
def model() -> InstructSeg:
    torch.manual_seed(0)
    return InstructSeg(preset("nano"))


@pytest.fixture(scope="module")
def pages(processor: InstructSegProcessor) -> PageSource:
    kinds = {"attribute": 1.0, "question": 1.0, "absent": 1.0}
    images = SyntheticDataset(20, 2, SMALL, (Task.RES,), 3, kinds=kinds)
    clips = SyntheticDataset(20, 1, SMALL, (Task.RVOS,), 3, kinds=("motion",))
    return PageSource(processor, SceneBatches(images, clips, clip_share=0.5, counts=(2, 2)))


def fall(lesson: torch.nn.Module, batch: object, part: str, steps: int = 12) -> None:
    """The part's loss falls when the lesson is learned from one batch; untaught parts stay as they are."""
    learning = [p for p in lesson.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-3)
    torch.manual_seed(1)
    first = lesson(batch).losses[part].item()
    for _ in range(steps):
        optimizer.zero_grad()
        lesson(batch).total.backward()
        optimizer.step()
    torch.manual_seed(1)
    assert lesson(batch).losses[part].item() < 0.8 * first


def without_gradient(lesson: torch.nn.Module) -> set[str]:
    """Parts of the model that the last backward did not reach."""
    reached = {
        n.split(".")[1] for n, p in lesson.named_parameters() if n.startswith("model.") and p.grad is not None
    }
    return {n.split(".")[1] for n, _ in lesson.named_parameters() if n.startswith("model.")} - reached


def test_patches_are_learned_by_the_siglip_side_alone(
    model: InstructSeg, processor: InstructSegProcessor
) -> None:
    batch, _ = FrameSource(processor, SMALL, 4).batch(0)
    lesson = PatchLesson(model)
    fall(lesson, batch, "patch")
    assert "vision" not in without_gradient(lesson) and {"language", "backbone"} <= without_gradient(lesson)


@pytest.mark.parametrize("propose", [False, True])
def test_masks_are_learned_by_the_mask_branch_alone(
    model: InstructSeg, processor: InstructSegProcessor, propose: bool
) -> None:
    batch, _ = FrameSource(processor, SMALL, 4).batch(1)
    lesson = MaskLesson(model, propose)
    fall(lesson, batch, "mask" if propose else "res4")
    left = without_gradient(lesson)
    assert {"language", "vision"} <= left and ("mask_decoder" in left) == (not propose)


@pytest.mark.parametrize("index", [0, 1])
def test_reading_is_learned_without_encoders(model: InstructSeg, pages: PageSource, index: int) -> None:
    batch, _ = pages.batch(index)
    lesson = ReadingLesson(model, patches=20)
    fall(lesson, batch, "select" if index == 0 else "look", steps=25)
    assert {"vision", "backbone", "pixel_decoder", "mask_decoder"} <= without_gradient(lesson)
    assert "language" not in without_gradient(lesson)


def test_reading_the_output_of_the_siglip_side(model: InstructSeg, pages: PageSource) -> None:
    source = PageSource(pages.processor, pages.batches, seen=True)
    batch, _ = source.batch(1)
    codes = pages.batch(1)[0]
    assert batch.pixels is not None and codes.pixels is None
    assert batch.pixels.shape[:2] == batch.patches.shape[:2] == (2, 5)
    frame = pages.batches.clips.scene(3)  # the second one of the batch
    assert torch.equal(batch.pixels[1, 0], pages.processor.encode_clip(frame.scene.frames[frame.key]))
    lesson = ReadingLesson(model, patches=20).eval()
    torch.manual_seed(0)
    lesson(batch).total.backward()
    assert "vision" not in without_gradient(lesson)


@pytest.mark.parametrize("index", [0, 1])
def test_reading_without_heads_of_its_own(model: InstructSeg, pages: PageSource, index: int) -> None:
    """A model that knows where to look is not disturbed by heads that know nothing yet."""
    lesson = ReadingLesson(model, patches=20, guided=False)
    output = lesson(pages.batch(index)[0])
    assert {"select", "point"} <= set(output.losses)
    assert not {"slots", "look", "standing", "asked"} & set(output.losses)
    output.total.backward()
    heads = [*lesson.slot_head.parameters(), *lesson.standing_head.parameters()]
    assert all(weight.grad is None for weight in heads)


def test_guided_attention_is_at_the_taught_place(
    model: InstructSeg, pages: PageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patches of a thing, tokens of the references and positions of the sequence belong together."""
    batch, _ = pages.batch(1)
    lesson = ReadingLesson(model, patches=64)
    for scene in range(2):
        shown = batch.under[scene] >= 0
        assert torch.equal(batch.patches[scene, 0, :, 0] > 0, shown)
        codes = batch.objects[scene][batch.under[scene][shown]]
        assert torch.equal(batch.patches[scene, 0, shown, :CODE_DIM], codes)
    seen = {}
    monkeypatch.setattr(
        reading, "look", lambda _, batch, read, slots, *__: seen.update(read=read, slots=slots) or ({}, {})
    )
    lesson(batch)
    read, slots = seen["read"], seen["slots"]
    assert read.leads.sum() == 2 and sorted(batch.image[read.leads].tolist()) == [0, 1]
    assert torch.equal(slots >= 0, batch.in_sight[batch.image[read.leads]])
    assert torch.equal(read.under, batch.under[batch.image])
    assert bool(((read.roles == Role.TEMPORAL).sum(1) == 4 * model.config.ovp_queries).all())


def test_a_batch_is_a_function_of_its_number(pages: PageSource, processor: InstructSegProcessor) -> None:
    for source in (pages, FrameSource(processor, SMALL, 2, seed=3)):
        one, other = source.batch(5)[0], source.batch(5)[0]
        assert torch.equal(one.patches, other.patches)
        assert not torch.equal(one.patches[0], source.batch(7)[0].patches[0])
        assert source.names(5) != source.names(6)


def test_answers_and_labels_match_the_scene(processor: InstructSegProcessor, pages: PageSource) -> None:
    drawn = [pages.batches.images.scene(i) for i in range(4)]
    batch = pages_of(processor, drawn)
    said = [(number, one) for number, scene in enumerate(drawn) for one in scene.expressions]
    assert batch.image.tolist() == [number for number, _ in said]
    for row, (number, one) in enumerate(said):
        assert batch.answers[row].nonzero().flatten().tolist() == list(one.targets)
        assert int(batch.real[number].sum()) == len(drawn[number].scene.objects) + 1
        learned = batch.labels[row][batch.labels[row] != IGNORE_LABEL].tolist()
        assert processor.decode(learned) == (one.answer or "")


def test_kept_positions_begin_with_objects_and_end_with_the_instruction(
    model: InstructSeg, pages: PageSource
) -> None:
    batch, _ = pages.batch(1)
    lesson = ReadingLesson(model, patches=24)
    order = (batch.patches[..., 0] > 0).float()
    which = order.topk(24, dim=-1).indices.sort(-1).values
    index, real = lesson._kept(batch, which)
    roles = torch.where(real, batch.roles.gather(1, index), int(Role.PAD))
    for row in range(len(batch)):
        kept = roles[row][real[row]]
        assert int((kept == Role.IMAGE).sum()) == 24 and int(kept[-1]) == Role.REFER
        assert int((kept == Role.MASK).sum()) == 0
        first = int((batch.roles[row] == Role.IMAGE).nonzero()[0])
        at = index[row][roles[row] == Role.IMAGE] - first
        assert at.tolist() == which[batch.image[row], 0].tolist()


def test_hidden_fields_leave_the_place() -> None:
    torch.manual_seed(0)
    things = torch.ones(200, 2, CODE_DIM)
    seen = blurred(things)
    hidden = (seen[..., FIELDS["shape"]].abs().mean((1, 2)) < 0.5).float().mean()
    assert 0.15 < hidden < 0.35
    assert (seen[..., FIELDS["place"]] > 0.3).float().mean() > 0.99


def test_slots_are_assigned_to_objects_in_any_order() -> None:
    things = torch.randn(1, 3, CODE_DIM)
    said = torch.cat((torch.randn(1, 1, CODE_DIM) + 9, things[:, [2, 0, 1]]), dim=1)
    assert assign(said, things, torch.ones(1, 3, dtype=torch.bool)).tolist() == [[2, 3, 1]]
    assert assign(said, things, torch.tensor([[False, True, False]])).tolist() == [[-1, 3, -1]]
    assert assign(things[:, [2, 1]], things, torch.ones(1, 3, dtype=torch.bool)).tolist() == [[-1, 1, 0]]
    assert assign(said, things, torch.zeros(1, 3, dtype=torch.bool)).tolist() == [[-1, -1, -1]]


def test_attention_is_spread_evenly_where_objects_are_counted() -> None:
    torch.manual_seed(0)
    shares = torch.rand(6, 5).softmax(1)
    on_objects, on_first = shares[:, :4], shares[:, 4]
    meant = (
        torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]]) > 0
    )
    counted = torch.tensor([True, True, True, False, False, False])
    wanted = []
    for row in (0, 1, 2, 3, 5):  # the one that means nothing and does not count has nothing to look at
        hit = [float(share) for share, is_meant in zip(on_objects[row], meant[row], strict=True) if is_meant]
        if counted[row]:
            logs = [math.log(share) for share in (*hit, float(on_first[row]))]
            wanted.append(-sum(logs) / len(logs))
        else:
            wanted.append(-math.log(sum(hit)))
    assert missed(on_objects, on_first, meant, counted).tolist() == pytest.approx(wanted)
    even = torch.tensor([[1 / 3, 0, 1 / 3, 0]])
    best = missed(even, torch.tensor([1 / 3]), meant[:1], counted[:1])
    assert float(best) < float(missed(even * 1.2, torch.tensor([0.2]), meant[:1], counted[:1]))


def test_a_view_is_a_piece_of_the_scene() -> None:
    rng = np.random.default_rng(0)
    scene = draw_scene(rng, SMALL)
    view = view_of(rng, scene, mirrored=False)
    h, w = view.ids.shape[1:]
    places = [
        (top, left)
        for top in range(scene.ids.shape[1] - h + 1)
        for left in range(scene.ids.shape[2] - w + 1)
        if np.array_equal(scene.frames[:, top : top + h, left : left + w], view.frames)
    ]
    assert len(places) == 1
    top, left = places[0]
    assert np.array_equal(scene.ids[:, top : top + h, left : left + w], view.ids)


def test_attention_is_spread_over_the_targets_and_the_first_token() -> None:
    torch.manual_seed(0)
    weights = torch.randn(2, 3, 4, 9).log_softmax(-1)
    saying = torch.tensor([[2, 5, 7], [8, 1, 3]])
    wanted, under = torch.rand(2, 2, 3, 3) > 0.5, torch.tensor([[0, 2, -1, 1], [1, 1, 0, -1]])
    losses = []
    for row in range(2):
        for head in range(2):
            for patch, obj in enumerate(under[row].tolist()):
                if obj >= 0:
                    at = [0] + [int(saying[row, j]) for j in range(3) if wanted[row, head, obj, j]]
                    losses.append(-weights[row, head, patch, at].mean())
    found = gather_around(weights, saying, wanted, under)
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_pointing_is_asked_of_the_right_tokens(
    model: InstructSeg, processor: InstructSegProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a plain loop: the end of a row late, and early its best word for what a relation names."""
    kinds = {"relation": 2.0, "question": 1.0, "absent": 1.0}
    images = SyntheticDataset(20, 3, replace(SMALL, objects=(4, 5)), (Task.RES,), 6, kinds=kinds)
    batch = pages_of(processor, [images.scene(i) for i in range(4)])
    seen: dict[str, Any] = {}

    def keep(_phi: Any, batch: Any, read: Any, last: torch.Tensor, layers: tuple[int, int]) -> torch.Tensor:
        seen.update(read=read, last=last, layers=layers)
        return torch.zeros(())

    monkeypatch.setattr(reading, "point", keep)
    ReadingLesson(model, patches=64)(batch)
    read, last, layers = seen["read"], seen["last"], seen["layers"]
    torch.manual_seed(0)
    length = read.roles.shape[1]
    attention = {layer: torch.rand(len(batch), 4, length, length).log_softmax(-1) for layer in layers}

    def given(_phi: Any, layer: int, _states: Any, _positions: Any, asking: torch.Tensor) -> torch.Tensor:
        return attention[layer].gather(2, asking[:, None, :, None].expand(-1, 4, -1, length))

    monkeypatch.setattr(guidance, "log_attention", given)
    wanted = []
    for layer in layers:
        rows = []
        for row in range(len(batch)):
            weights = attention[layer][row, :2].exp().mean(0)
            asks = batch.kinds[row] == "question"
            things = (batch.anchors if layer == layers[0] and not asks else batch.answers)[row]
            image = (read.roles[row] == Role.IMAGE).nonzero().flatten().tolist()
            meant = [t for t in things.nonzero().flatten().tolist() if bool((read.under[row] == t).any())]
            words = [int(last[row])]
            if layer == layers[0] and not asks:
                words = (read.roles[row] == Role.REFER).nonzero().flatten().tolist()
            under = list(zip(image, read.under[row].tolist(), strict=True))
            shares = [[sum(float(weights[w, p]) for p, u in under if u == t) for t in meant] for w in words]
            if asks or (layer == layers[1] and not things.any()):
                logs = [math.log(one) for one in (*shares[0], float(weights[words[0], 0]))]
                rows.append(-sum(logs) / len(logs))
            elif meant:
                rows.append(-math.log(max(sum(one) for one in shares)))
        wanted.append(sum(rows) / len(rows))
    found = guidance.point(model.language.model, batch, read, last, layers)
    assert float(found) == pytest.approx(sum(wanted), rel=1e-4)
