"""Sequences with fewer visual tokens: against one plain pass per pair; what is shared stays right."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from instructseg.inference import ImagePredictor, StreamOptions, VideoPredictor, VideoSession
from instructseg.inference.encoder import CachedFrame, Encoder, Pair
from instructseg.inference.instructions import Instruction, States, stack_states
from instructseg.model import InstructSeg
from instructseg.model.instructseg import LanguageStates
from instructseg.model.tokens import TokenChoice, grid_places
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Role, Sample, Task
from tests.inference.conftest import make_model
from tests.inference.test_image import TEXTS
from tests.inference.test_stride import probabilities, stream

Nano = tuple[InstructSeg, InstructSegProcessor]
Frames = Callable[[int], list[np.ndarray]]
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


@torch.no_grad()
def plain(
    nano: Nano, text: str, task: Task, key: np.ndarray, seen: list[np.ndarray], choice: TokenChoice
) -> States:
    """The whole sequence of one pair, of which all but the chosen tokens are taken away."""
    model, processor = nano

    def tokens(frame: np.ndarray) -> torch.Tensor:
        found = model.encode_frame(processor.encode_clip(frame)[None]).tokens
        assert found is not None
        return found

    input_ids, roles = processor.encode_text([text], task, len(seen))
    words, mask = model.embed_text(input_ids, roles)
    shown = tokens(key)
    temporal = torch.cat([model.perceive(tokens(one), words, mask) for one in seen or [key]])
    embeds = model.embed(input_ids, roles, shown, temporal)[0]
    sizes, places = (
        torch.ones(len(roles[0])),
        torch.tensor([[t / max(1, len(temporal) - 1)] for t in range(len(temporal)) for _ in range(8)]),
    )
    for role, rate, values, where in (
        (Role.IMAGE, choice.rate, shown[0], grid_places(64)),
        (Role.TEMPORAL, choice.perceiver, temporal.flatten(0, 1), places),
    ):
        numbers, read, counts = choice.condense(rate, values, where, words[0], 0)
        assert len(numbers) == math.ceil(len(values) * rate)
        assert counts.sum() == len(values)
        first = roles[0].tolist().index(role)  # they stand side by side
        sizes[first : first + len(values)] = 0
        sizes[first + numbers] = counts
        embeds[first + numbers] = read
    kept = [position for position, size in enumerate(sizes.tolist()) if size]
    bias = torch.full((len(kept), len(kept)), -torch.inf).triu(1) + sizes[kept].log()
    hidden = model.language.model(
        inputs_embeds=embeds[kept][None], attention_mask=bias[None, None], position_ids=torch.tensor([kept])
    ).last_hidden_state[0]
    left = roles[0][kept]
    return States(hidden[left == Role.MASK], hidden[left == Role.REFER])


def same_states(found: States, expected: States) -> None:
    torch.testing.assert_close(found.mask_tokens, expected.mask_tokens, **CLOSE)
    torch.testing.assert_close(found.text, expected.text, **CLOSE)


@pytest.mark.parametrize("choice", [TokenChoice(0.2), TokenChoice(0.6, 0.3), TokenChoice(1, 0.5)])
@pytest.mark.parametrize("batch_size", [1, 16])
def test_states_are_those_of_a_plain_pass(
    nano: Nano, frames: Frames, choice: TokenChoice, batch_size: int
) -> None:
    """A batch of images and clips, with different numbers of references, and texts of different lengths."""
    clip = frames(6)
    cached = [CachedFrame(frame) for frame in clip]
    encoder = Encoder(*nano, batch_size=batch_size, keep_tokens=choice)
    asked: list[tuple[str, Task, int, list[int]]] = [
        (TEXTS[0], Task.RVOS, 2, [0, 1, 3, 4]),
        (TEXTS[1], Task.RES, 5, []),
        (TEXTS[1], Task.RVOS, 0, [1, 2]),
        (TEXTS[0], Task.RVOS, 3, [1, 2, 4, 5]),
    ]
    pairs = [
        Pair(Instruction(n, text, task, nano[1], len(seen)), cached[key], [cached[i] for i in seen])
        for n, (text, task, key, seen) in enumerate(asked)
    ]
    for found, (text, task, key, seen) in zip(encoder.reason(pairs), asked, strict=True):
        same_states(found, plain(nano, text, task, clip[key], [clip[i] for i in seen], choice))


@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_training_reads_what_a_prediction_reads(nano: Nano, frames: Frames, rate: float) -> None:
    model, processor = nano
    clip, truth = frames(4), np.zeros((1, *frames(1)[0].shape[:2]), np.uint8)
    samples = [Sample(clip[0], text, Task.RVOS, tuple(clip[1:3]), truth) for text in TEXTS]
    samples.append(Sample(clip[3], TEXTS[0], Task.RES, masks=truth))
    cached = [CachedFrame(frame) for frame in clip]
    pairs = [
        Pair(
            Instruction(n, one.instruction, one.task, processor, 2), cached[key], cached[1:3] if not key else ()
        )
        for n, (one, key) in enumerate(zip(samples, (*[0] * len(TEXTS), 3), strict=True))
    ]
    expected = stack_states(Encoder(model, processor, keep_tokens=TokenChoice(rate)).reason(pairs))
    found: list[LanguageStates] = []
    real = model.reason
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(model, "reason", lambda *a, **k: found.append(real(*a, **k)) or found[-1])
        model(replace(processor(samples), keep_tokens=rate))
    torch.testing.assert_close(found[0].mask_tokens, expected.mask_tokens, **CLOSE)
    torch.testing.assert_close(found[0].text, expected.text, **CLOSE)


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_the_language_model_reads_fewer_positions(nano: Nano, frames: Frames, rate: float) -> None:
    lengths: list[int] = []
    hook = (
        nano[0]
        .language.model.layers[0]
        .register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1]))
    )
    predictor = ImagePredictor(*nano)
    with torch.inference_mode():
        for kept in (1.0, rate, TokenChoice(rate, rate)):
            predictor.predict(frames(1)[0], TEXTS[0], keep_tokens=kept)
    hook.remove()
    assert lengths[0] - lengths[1] == 64 - math.ceil(64 * rate)
    assert lengths[1] - lengths[2] == 8 - math.ceil(8 * rate)


@pytest.mark.parametrize("options", [{}, {"llm_stride": 3}, {"llm_stride": "auto"}])
def test_a_stream_is_the_same_in_any_batches(nano: Nano, frames: Frames, options: dict[str, Any]) -> None:
    clip = frames(7)
    one = probabilities(stream(nano, clip, TEXTS, keep_tokens=0.3, batch_size=1, **options))
    many = probabilities(stream(nano, clip, TEXTS, keep_tokens=0.3, batch_size=16, chunk=4, **options))
    np.testing.assert_allclose(one, many, atol=1e-4)
    assert np.abs(one - probabilities(stream(nano, clip, TEXTS, **options))).max() > 1e-3


def test_an_instruction_that_comes_later_has_tokens_of_its_own(nano: Nano, frames: Frames) -> None:
    clip, options = frames(8), StreamOptions(keep_tokens=0.3, soft=True)
    session = VideoSession(*nano, options)
    session.add(TEXTS[0])
    results = [result for frame in clip[:5] for result in session.push(frame)]
    later = session.add(TEXTS[1])
    results += [result for frame in clip[5:] for result in session.push(frame)] + session.close()
    alone = stream(nano, clip, [TEXTS[1]], keep_tokens=0.3)
    for result in results[3:]:
        (expected,) = alone[result.index].predictions
        np.testing.assert_allclose(result.of(later)[0].probability, expected.probability, atol=1e-4)


@pytest.mark.parametrize("method", ["uniform", "random"])
def test_other_methods_run(nano: Nano, frames: Frames, method: str) -> None:
    found = []
    for _ in range(2):
        choice = TokenChoice(0.3, 0.3, method)  # type: ignore[arg-type]
        results = VideoPredictor(*nano).predict(frames(3), TEXTS[0], keep_tokens=choice, soft=True)
        found.append(probabilities(list(results)))
    np.testing.assert_array_equal(*found)
    full = probabilities(list(VideoPredictor(*nano).predict(frames(3), TEXTS[0], soft=True)))
    assert np.abs(found[0] - full).max() > 1e-4


def test_a_model_without_a_perceiver_keeps_fewer_image_tokens(frames: Frames) -> None:
    found = [
        ImagePredictor(*make_model(use_ovp=False))
        .predict(frames(1)[0], TEXTS[0], keep_tokens=rate, soft=True, threshold=0)[0]
        .probability
        for rate in (1.0, 0.2)
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert np.abs(found[0] - found[1]).max() > 1e-4


@pytest.mark.parametrize("rate", [0, 1.2])
def test_a_rate_out_of_range_is_refused(nano: Nano, frames: Frames, rate: float) -> None:
    with pytest.raises(ValueError, match="keep_tokens must be above 0 and at most 1"):
        ImagePredictor(*nano).predict(frames(1)[0], TEXTS[0], keep_tokens=rate)
    with pytest.raises(ValueError, match="keep_tokens must be above 0 and at most 1"):
        VideoPredictor(*nano).session(keep_tokens=rate)
