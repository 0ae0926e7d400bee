import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from instructseg.hub import BUNDLED, WEIGHTS
from instructseg.processing import InstructSegProcessor, ProcessorConfig
from instructseg.processing.templates import Wording
from instructseg.structures import IGNORE_LABEL, Role, Sample, Task

RNG = np.random.default_rng(0)


def frame(height: int = 20, width: int = 30) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def count(row: torch.Tensor, role: Role) -> int:
    return int((row == role).sum())


def test_tasks_stand_side_by_side(processor: InstructSegProcessor) -> None:
    samples = [
        Sample(frame(), "the dog", Task.RES),
        Sample(frame(30, 10), "the cat", Task.RVOS, reference_frames=(frame(), frame(), frame())),
        Sample(frame(), "what is it?", Task.VQA, answer="a dog"),
        Sample(frame(), "why?", Task.REASON_SEG, answer="it barks", explain=True),
    ]
    inputs = processor(samples, training=True)
    assert inputs.clip_pixels.shape == (4, 4, 3, 28, 28)
    assert inputs.seg_pixels is not None and inputs.seg_pixels.shape == (4, 3, 64, 64)
    assert inputs.num_references.tolist() == [0, 3, 0, 0]
    assert [geometry.original for geometry in inputs.geometry] == [(20, 30), (30, 10), (20, 30), (20, 30)]
    assert [count(row, Role.TEMPORAL) for row in inputs.roles] == [2, 6, 0, 2]
    assert [count(row, Role.MASK) for row in inputs.roles] == [3, 3, 0, 3]
    assert [count(row, Role.IMAGE) for row in inputs.roles] == [4, 4, 4, 4]
    assert inputs.image_index is None
    assert inputs.labels is not None
    assert [(row != IGNORE_LABEL).any().item() for row in inputs.labels] == [False, False, True, True]
    assert not inputs.input_ids[~inputs.attention_mask].any()
    for index, sample in enumerate(samples):  # alone or beside others, a row is the same
        alone = processor([sample], training=True)
        real = inputs.attention_mask[index]
        assert torch.equal(inputs.input_ids[index][real], alone.input_ids[0])
        assert torch.equal(inputs.roles[index][real], alone.roles[0])
        assert torch.equal(inputs.clip_pixels[index, : alone.clip_pixels.shape[1]], alone.clip_pixels[0])


def test_the_same_frames_are_one_image(processor: InstructSegProcessor) -> None:
    key, other, reference = frame(), frame(), frame()
    samples = [
        Sample(key, "the dog", Task.RVOS, (reference,)),
        Sample(other, "the cat", Task.RVOS, (reference,)),
        Sample(key, "the bird", Task.RVOS, (reference,)),
        Sample(key.copy(), "the fish", Task.RVOS, (reference,)),
    ]
    inputs = processor(samples)
    assert inputs.image_index is not None and inputs.image_index.tolist() == [0, 1, 0, 2]
    assert inputs.clip_pixels.shape[0] == 3 and len(inputs.geometry) == 3
    assert torch.equal(inputs.clip_pixels[0], inputs.clip_pixels[2])
    assert torch.equal(inputs.clip_pixels[0, 0], processor.encode_clip(key))
    assert inputs.seg_pixels is not None
    assert torch.equal(inputs.seg_pixels[1], processor.encode_key_frame(other)[0])


def test_without_training_no_answer_is_read(processor: InstructSegProcessor) -> None:
    bare = [Sample(frame(), "why?", Task.REASON_SEG, explain=True), Sample(frame(), "what?", Task.VQA)]
    told = [replace(sample, answer="a secret") for sample in bare]
    expected, inputs = processor(bare), processor(told)
    assert torch.equal(inputs.input_ids, expected.input_ids)
    assert inputs.labels is None
    assert processor.decode(inputs.input_ids[1][inputs.attention_mask[1]].tolist()).endswith("assistant:")


def test_questions_alone_need_no_mask_branch(processor: InstructSegProcessor) -> None:
    inputs = processor([Sample(frame(), "what?", Task.VQA, reference_frames=(frame(),))])
    assert inputs.seg_pixels is None and inputs.geometry == ()
    assert inputs.num_references.tolist() == [0]


def test_text_alone_is_the_text_of_the_batch(processor: InstructSegProcessor) -> None:
    key, references = frame(), (frame(), frame())
    samples = [Sample(key, text, Task.RVOS, references) for text in ("the dog", "the big red cat")]
    inputs = processor(samples)
    input_ids, roles = processor.encode_text(["the dog", "the big red cat"], Task.RVOS, num_references=2)
    assert torch.equal(input_ids, inputs.input_ids) and torch.equal(roles, inputs.roles)


def test_a_generated_explanation_takes_its_place(processor: InstructSegProcessor) -> None:
    prompt, _ = processor.encode_text(["why?"], Task.REASON_SEG, explain=True, generate=True)
    full, roles = processor.encode_text(["why?"], Task.REASON_SEG, explain=True, answers=["it barks"])
    size = prompt.shape[1]
    assert torch.equal(full[:, :size], prompt)
    assert processor.seg_token_id in full[0, size:]
    assert processor.decode(full[0, size:][roles[0, size:] == Role.TEXT].tolist()) == "it barks"
    with pytest.raises(ValueError, match="2 instructions but 1 answers"):
        processor.encode_text(["a", "b"], Task.VQA, answers=["c"])


def test_text_tasks_are_a_setting(processor: InstructSegProcessor) -> None:
    config = replace(processor.config, text_tasks=(Task.RES,))
    sample = Sample(frame(), "the dog", Task.RES)
    for chosen, learns in ((processor.config, False), (config, True)):
        labels = InstructSegProcessor(processor.tokenizer, chosen)([sample], training=True).labels
        assert labels is not None and bool((labels != IGNORE_LABEL).any()) == learns


def test_an_overlong_row_reports_how_much_fits(processor: InstructSegProcessor) -> None:
    short = len(processor.encode_text(["dog"], Task.REASON_SEG)[0][0])
    room = processor.config.max_length - short + len(processor.tokenizer.encode("dog"))
    words = "\n" * room  # one token each, and none of them is stripped inside
    text = f"d{words[2:]}d"
    assert processor.encode_text([text], Task.REASON_SEG)[0].shape[1] == processor.config.max_length
    with pytest.raises(ValueError, match=f"have {room + 1} tokens, but only {room} fit .max_length 400"):
        processor.encode_text([f"d{words[1:]}d"], Task.REASON_SEG)


def test_errors_name_the_sample(processor: InstructSegProcessor) -> None:
    with pytest.raises(ValueError, match="sample 'number 7': the instruction of task 'res' is empty"):
        processor([Sample(frame(), " ", Task.RES, name="number 7")])
    with pytest.raises(ValueError, match="asks for an explanation but has no answer"):
        processor([Sample(frame(), "why", Task.REASON_SEG, explain=True)], training=True)
    with pytest.raises(ValueError, match="no answer here"):
        processor([Sample(frame(), "what", Task.VQA)], training=True)
    with pytest.raises(ValueError, match="empty batch"):
        processor([])


def test_targets(processor: InstructSegProcessor) -> None:
    mask, other = np.zeros((2, 32, 64), np.uint8)
    mask[:8], mask[8:12], other[20:] = 1, 255, 1
    key = frame(32, 64)
    samples = [
        Sample(key, "a", Task.RES, masks=mask[None], distractors=other[None]),
        Sample(key, "what", Task.VQA),
        Sample(key, "b", Task.RES, masks=mask[:0].reshape(0, 32, 64)),
        Sample(key, "c", Task.RES, masks=other[None].astype(bool)),
    ]
    first, second, third = processor.targets(samples)  # VQA has none
    expected = torch.zeros(2, 64, 64, dtype=torch.bool)
    expected[0, :8], expected[1, 20:32] = True, True
    assert torch.equal(first.masks, expected)
    assert first.is_answer is not None and first.is_answer.tolist() == [True, False]
    assert first.ignore is not None and first.ignore.any(1).nonzero().flatten().tolist() == [8, 9, 10, 11]
    assert second.masks.shape == (0, 64, 64) and second.is_answer is None and second.ignore is None
    assert torch.equal(third.masks, expected[1:])


def test_targets_that_cannot_be_are_refused(processor: InstructSegProcessor) -> None:
    key = frame(4, 4)
    with pytest.raises(ValueError, match="task 'res' needs masks"):
        processor.targets([Sample(key, "a", Task.RES)])
    with pytest.raises(ValueError, match="does not fit a frame"):
        processor.targets([Sample(key, "a", Task.RES, masks=np.zeros((1, 4, 5), np.uint8))])
    with pytest.raises(ValueError, match="sample 'x': a mask pixel is 0, 1 or 255"):
        processor.targets([Sample(key, "a", Task.RES, masks=np.full((1, 4, 4), 2, np.uint8), name="x")])


def test_a_saved_processor_is_the_same(processor: InstructSegProcessor, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path / "new")
    loaded = InstructSegProcessor.from_pretrained(tmp_path / "new")
    assert loaded.config == processor.config and loaded.num_added_tokens == 0
    assert not list((tmp_path / "new").glob(".*"))  # nothing temporary stays
    sample = Sample(frame(), "The Größe 😀", Task.REASON_SEG, answer="it is", explain=True)
    ours, theirs = processor([sample], training=True), loaded([sample], training=True)
    assert torch.equal(ours.input_ids, theirs.input_ids)
    assert ours.labels is not None and theirs.labels is not None and torch.equal(ours.labels, theirs.labels)
    assert ours.seg_pixels is not None and theirs.seg_pixels is not None
    assert torch.equal(ours.seg_pixels, theirs.seg_pixels)


def test_phi_files_without_tokenizer_json(processor: InstructSegProcessor, tmp_path: Path) -> None:
    processor.tokenizer.backend_tokenizer.model.save(str(tmp_path))  # vocab.json, merges.txt
    settings = {
        "tokenizer_class": "CodeGenTokenizer",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(FileNotFoundError, match=r"no processor_config.json .* pass config=ProcessorConfig\(\)"):
        InstructSegProcessor.from_pretrained(tmp_path)
    loaded = InstructSegProcessor.from_pretrained(tmp_path, processor.config)
    text = "this is an image\n, please doing"
    assert loaded.tokenizer.encode(text) == processor.tokenizer.encode(text)
    assert loaded.config is processor.config


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder '/no/such/place'"):
        InstructSegProcessor.from_pretrained("/no/such/place")
    with pytest.raises(FileNotFoundError, match="no tokenizer in"):
        InstructSegProcessor.from_pretrained(tmp_path, ProcessorConfig())
    (tmp_path / "processor_config.json").write_text('{"image_sizes": 64}')
    with pytest.raises(ValueError, match="image_sizes: unknown key; the closest is 'image_size'"):
        InstructSegProcessor.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {"image_size": 0}, {"max_length": -1}, {"num_temporal_queries": -1}, {"clip_size": 1.5},
        {"pad_value": 256},
        {"num_mask_queries": True}, {"num_image_tokens": None}, {"max_length": 10**400}, {"seg_mean": [1, 2]},
        {"seg_std": [1, 0, 1]}, {"clip_std": "abc"}, {"clip_mean": [1, 2, float("nan")]}, {"system": 3},
        {"wording": ["released"]}, {"text_tasks": ["fly"]}, {"text_tasks": {"a": 1}}, {"text_tasks": None},
        {"presence_threshold": 1.5}, {"presence_threshold": float("nan")}, {"presence_threshold": "0.5"},
        {"presence_threshold": True}, {"instance_threshold": -0.1}, {"presence_temperature": 0},
    ],
)  # fmt: skip
def test_settings_are_checked(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        ProcessorConfig.from_dict({**ProcessorConfig().to_dict(), **values})
    assert ProcessorConfig.from_dict(ProcessorConfig().to_dict()) == ProcessorConfig()
    for threshold in (None, 0, 0.773, 1):
        config = ProcessorConfig(presence_threshold=threshold)
        assert ProcessorConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_model_has_the_threshold_of_its_card(name: str) -> None:
    processor = InstructSegProcessor.from_pretrained(WEIGHTS / name)
    (fitted,) = re.findall(r"what is there is found: (0\.\d+)\.", (WEIGHTS / name / "README.md").read_text())
    assert processor.config.presence_threshold == float(fitted)
    assert ProcessorConfig().presence_threshold is None  # published weights: none was fitted


OPTIONAL = {"chat", "edges", "presence_threshold", "presence_temperature", "instance_threshold", "words"}


@pytest.mark.parametrize("key", sorted(ProcessorConfig().to_dict().keys() - OPTIONAL))
def test_a_missing_setting_is_not_filled_with_the_released_one(key: str) -> None:
    values = ProcessorConfig().to_dict()
    del values[key]
    with pytest.raises(ValueError, match=f"here: {key} is missing"):
        ProcessorConfig.from_dict(values, "here")


def test_the_wording_is_a_setting(processor: InstructSegProcessor) -> None:
    rows = {}
    for wording in get_args(Wording):
        config = replace(processor.config, wording=wording)
        ids, roles = InstructSegProcessor(processor.tokenizer, config).encode_text(["the dog"], Task.RES)
        rows[wording] = processor.decode(ids[roles == Role.TEXT].tolist())
        assert processor.decode(ids[roles == Role.REFER].tolist()) == "the dog."
    assert rows["released"] != rows["held_out"]
    assert ProcessorConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="wording must be one of released, varied, held_out, not 'other'"):
        replace(config, wording="other")
