"""The contract with Detectron2: catalogs, dictionaries, evaluators, architecture, checkpoints."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from instructseg.convert import load_official
from instructseg.criterion import CriterionConfig
from instructseg.inference.postprocess import postprocess
from instructseg.structures import Sample, Task
from tests.convert.test_mask2former import detectron2 as mask2former
from tests.convert.test_mask2former import write
from tests.interop.conftest import import_with


def square(top: int, left: int, side: int = 10, size: tuple[int, int] = (40, 56)) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def a_sample(**changes: Any) -> Sample:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (40, 56, 3), np.uint8) for _ in range(3)]
    values: dict[str, Any] = {
        "key_frame": frames[0],
        "instruction": "the red circle moving left",
        "task": Task.RVOS,
        "reference_frames": tuple(frames[1:]),
        "masks": np.stack([square(3, 5), square(20, 30)]),
        "distractors": square(0, 40)[None],
        "answer": "it moves left",
        "name": "a/b",
        "meta": {"clip": "a"},
    }
    return Sample(**{**values, **changes})


def found(d2: SimpleNamespace, masks: list[np.ndarray], scores: list[float]) -> Any:
    tensor = torch.from_numpy(np.stack(masks)).bool() if masks else torch.zeros(0, 40, 56, dtype=torch.bool)
    return d2.structures.Instances((40, 56), pred_masks=tensor, scores=torch.tensor(scores))


def test_without_detectron2_the_import_says_how_to_install_it() -> None:
    with pytest.raises(
        ImportError, match=r"pip install .*git\+https://github\.com/facebookresearch/detectron2"
    ):
        import_with({"detectron2": None})


def test_registering_reads_nothing(d2: SimpleNamespace, tmp_path: Path) -> None:
    names = d2.ours.register_all(tmp_path / "nowhere")
    assert len(names) == len(set(names)) == 77
    assert {"instructseg_refcoco_val", "instructseg_refcoco+_testA", "instructseg_refcocog_google_val"} <= {
        *names
    }
    assert {"instructseg_grefcoco_testB", "instructseg_reasonseg_test"} <= {*names}
    assert {"instructseg_custom_images", "instructseg_own_images"} <= {*names}
    assert {"instructseg_mevis_valid_u", "instructseg_mevis_valid_u_clips"} <= {*names}
    with pytest.raises(FileNotFoundError, match="nowhere"):
        d2.data.DatasetCatalog.get("instructseg_refcoco_val")
    with pytest.raises(ValueError, match="places: unknown data set 'refcocos'; there are refcoco, "):
        d2.ours.register_all(tmp_path, {"refcocos": "x"})
    for name in names:
        d2.data.DatasetCatalog.remove(name)
        d2.data.MetadataCatalog.remove(name)


def test_every_registered_set_is_read_through_the_catalog(d2: SimpleNamespace, registered: list[str]) -> None:
    for name in registered:
        if "google" in name:  # not among the small copies
            continue
        records = d2.data.DatasetCatalog.get(name)
        assert isinstance(records, list)
        assert records, name
        assert [record["image_id"] for record in records] == list(range(len(records)))
        entry = d2.ours.SampleMapper(name)(records[0])
        assert {"dataset", "file_name", "instruction", "height", "width"} <= entry.keys()
        if name.endswith("_clips"):
            assert len(entry["frames"]) == len(entry.get("masks", entry["frames"]))
        else:
            assert entry["image"].shape == (3, entry["height"], entry["width"])


def test_registering_again_replaces(d2: SimpleNamespace, registered: list[str], root: Path) -> None:
    opened = []
    name = registered[0]
    before = d2.data.DatasetCatalog.get(name)
    assert d2.ours.register_all(root, sentences="each") == registered
    assert len(d2.data.DatasetCatalog.get(name)) > len(before)

    def opener() -> list:
        opened.append(1)
        return []

    d2.ours.register(name, opener, "generalized")
    assert d2.data.DatasetCatalog.get(name) == d2.data.DatasetCatalog.get(name) == []
    assert d2.ours.SampleMapper(name).datasets == {name: []}
    assert opened == [1]
    assert isinstance(d2.ours.evaluator(name), d2.ours.GeneralizedEvaluator)


def test_the_mapper_draws_in_training(d2: SimpleNamespace, registered: list[str]) -> None:
    name = next(name for name in registered if "mevis_train" in name)
    record = d2.data.DatasetCatalog.get(name)[0]
    still, drawn = d2.ours.SampleMapper(name), d2.ours.SampleMapper(name, training=True)
    assert torch.equal(still(record)["image"], still(record)["image"])
    torch.manual_seed(0)
    many = [drawn(record) for _ in range(8)]
    assert len({entry["meta"]["frame"] for entry in many}) > 1
    torch.manual_seed(0)
    assert torch.equal(drawn(record)["image"], many[0]["image"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"masks": None, "distractors": None, "reference_frames": (), "task": Task.REASON_SEG, "explain": True},
        {"masks": np.zeros((0, 40, 56), np.uint8)},
        {"masks": np.maximum(square(3, 5), square(20, 30) * 255)[None]},
    ],
)
def test_a_sample_comes_back_as_it_went(d2: SimpleNamespace, changes: dict[str, Any]) -> None:
    sample = a_sample(**changes)
    back = d2.ours.to_sample(d2.ours.to_entry(sample))
    for entry in fields(Sample):
        before, after = getattr(sample, entry.name), getattr(back, entry.name)
        assert type(before) is type(after), entry.name
        if entry.name == "reference_frames":
            assert all(map(np.array_equal, before, after))
        elif isinstance(before, np.ndarray):
            assert before.dtype == after.dtype
            assert np.array_equal(before, after)
        else:
            assert before == after


def test_the_truth_carries_boxes_and_classes(d2: SimpleNamespace) -> None:
    instances = d2.ours.to_entry(a_sample())["instances"]
    assert instances.image_size == (40, 56)
    assert instances.gt_boxes.tensor.tolist() == [[5, 3, 15, 13], [30, 20, 40, 30]]
    assert instances.gt_classes.tolist() == [0, 0]


def test_of_several_classes_the_one_asked_for_is_meant(d2: SimpleNamespace) -> None:
    records = d2.ours.ask_categories([d2.ours.to_entry(a_sample())], ["circle", "square", "star"])
    assert [(r["instruction"], r["category_id"]) for r in records] == [
        ("circle", 0),
        ("square", 1),
        ("star", 2),
    ]
    for record in records:
        record["instances"].gt_classes = torch.tensor([0, 1])
    masks = [d2.ours.to_sample(record).masks for record in records]
    assert [len(mask) for mask in masks] == [1, 1, 0]
    assert np.array_equal(masks[1][0], square(20, 30))


def test_wrong_inputs_are_named(d2: SimpleNamespace, arch: Any) -> None:
    entry = d2.ours.to_entry(a_sample())
    with pytest.raises(ValueError, match="an input has no 'instruction'"):
        arch([{**entry, "instruction": ""}])
    with pytest.raises(ValueError, match=r"torch\.float32 \[3, 40, 56\], expected uint8 \[3, H, W\]"):
        arch([{**entry, "image": entry["image"].float()}])
    with pytest.raises(ValueError, match="give the mapper instance_mask_format='bitmask'"):
        entry["instances"].gt_masks = [[0, 1], [1, 2]]
        d2.ours.to_sample(entry)
    with pytest.raises(ValueError, match="no 'image': train on samples"):
        d2.ours.to_sample({"instruction": "x", "frames": []})
    with pytest.raises(ValueError, match=r"ask ImagePredictor\.answer"):
        arch([d2.ours.to_entry(a_sample(task=Task.VQA))])


def test_referring_scores(d2: SimpleNamespace) -> None:
    scorer = d2.ours.ReferringEvaluator()
    assert isinstance(scorer, d2.evaluation.DatasetEvaluator)
    entries = [
        d2.ours.to_entry(a_sample(masks=masks)) for masks in (square(0, 0)[None], square(0, 0, 20)[None])
    ]
    outputs = [
        {"instances": found(d2, [square(9, 9), square(0, 5)], [0.1, 0.9])},  # the second: 50 of 150
        {"instances": found(d2, [], [])},
    ]
    scorer.process(entries[:1], outputs[:1])
    scorer.process(entries[1:], outputs[1:])
    results = scorer.evaluate()["referring"]
    assert results["cIoU"] == pytest.approx(100 * 50 / 550)
    assert results["gIoU"] == pytest.approx(100 / 6)
    assert results["P@0.5"] == 0
    scorer.reset()
    assert scorer.evaluate()["referring"]["cIoU"] == 0
    with pytest.raises(ValueError, match="input 'a/b' has no 'instances'"):
        scorer.process([d2.ours.to_entry(a_sample(masks=None))], outputs[:1])
    with pytest.raises(ValueError, match="shorter"):
        scorer.process(entries, outputs[:1])


def test_ignored_pixels_do_not_count(d2: SimpleNamespace) -> None:
    scorer = d2.ours.ReferringEvaluator()
    mask = square(0, 0)
    mask[5:10, :10] = 255
    answer = square(0, 0)
    scorer.process([d2.ours.to_entry(a_sample(masks=mask[None]))], [{"instances": found(d2, [answer], [1.0])}])
    assert scorer.evaluate()["referring"]["gIoU"] == 100


def test_generalized_scores(d2: SimpleNamespace) -> None:
    scorer = d2.ours.GeneralizedEvaluator()
    nothing = d2.ours.to_entry(a_sample(masks=np.zeros((0, 40, 56), np.uint8)))
    two = d2.ours.to_entry(a_sample())
    none, both = found(d2, [], []), found(d2, [np.maximum(square(3, 5), square(20, 30))], [0.5])
    scorer.process([nothing, nothing, two], [{"instances": x} for x in (none, both, both)])
    results = scorer.evaluate()["generalized"]
    assert results == pytest.approx(
        {"gIoU": 200 / 3, "cIoU": 50, "N_acc": 50, "T_acc": 100, "P@0.7": 100, "P@0.8": 100, "P@0.9": 100}
    )


def test_video_scores(d2: SimpleNamespace) -> None:
    scorer = d2.ours.VideoEvaluator()
    masks = np.stack([square(3, 5), square(20, 30)])
    right = {"frames": [found(d2, [mask], [1.0]) for mask in masks]}
    half = {"frames": [found(d2, [masks[0]], [1.0]), found(d2, [], [])]}
    scorer.process([{"name": "a", "masks": masks}, {"name": "b", "masks": masks}], [right, half])
    assert scorer.evaluate() == {"video": pytest.approx({"J&F": 75, "J": 75, "F": 75})}
    with pytest.raises(ValueError, match="input 'c' has no 'masks'"):
        scorer.process([{"name": "c"}], [right])
    with pytest.raises(ValueError, match="two inputs have the name 'b'"):
        scorer.process([{"name": "b", "masks": masks}], [right])


def test_videos_without_a_name_all_count(d2: SimpleNamespace) -> None:
    scorer = d2.ours.VideoEvaluator()
    masks = np.stack([square(3, 5), square(20, 30)])
    right = {"frames": [found(d2, [mask], [1.0]) for mask in masks]}
    wrong = {"frames": [found(d2, [], []), found(d2, [], [])]}
    scorer.process([{"masks": masks}, {"masks": masks}], [wrong, wrong])
    scorer.process([{"masks": masks}], [right])
    assert scorer.evaluate()["video"]["J"] == pytest.approx(100 / 3)


def test_an_answer_is_that_of_the_package(d2: SimpleNamespace, arch: Any) -> None:
    samples = [a_sample(), a_sample(instruction="big blue square", task=Task.RES, reference_frames=())]
    inputs = arch.processor(samples)
    with torch.no_grad():
        wanted = postprocess(arch.model(inputs), inputs)
        answers = arch([{**d2.ours.to_entry(sample), "category_id": 7} for sample in samples])
    for answer, want in zip(answers, wanted, strict=True):
        instances = answer["instances"]
        assert want.mask.any()
        assert np.array_equal(instances.pred_masks.numpy(), want.mask[None])
        assert instances.scores.tolist() == pytest.approx([want.score])
        assert answer["presence"] == pytest.approx(want.presence)
        y, x = want.mask.nonzero()
        assert instances.pred_boxes.tensor.tolist() == [[x.min(), y.min(), x.max() + 1, y.max() + 1]]
        assert instances.pred_classes.tolist() == [7]


@torch.no_grad()
def test_size_number_and_absence(d2: SimpleNamespace, arch: Any) -> None:
    entry = {**d2.ours.to_entry(a_sample()), "height": 80, "width": 112}
    best = arch([entry])[0]["instances"]
    assert best.image_size == tuple(best.pred_masks.shape[1:]) == (80, 112)
    arch.max_instances = 4
    several = arch([entry])[0]["instances"]
    assert 1 < len(several) <= 4
    assert several.scores.tolist() == sorted(several.scores.tolist(), reverse=True)
    assert torch.equal(several.pred_masks[0], best.pred_masks[0])
    arch.threshold = 1.0
    nothing = arch([entry])[0]
    assert len(nothing["instances"]) == 0
    assert nothing["instances"].image_size == (80, 112)
    assert 0 < nothing["presence"] < 1


@torch.no_grad()
def test_a_whole_video_and_an_image_in_one_batch(d2: SimpleNamespace, arch: Any, registered: list[str]) -> None:
    name = "instructseg_mevis_valid_u_clips"
    clip = d2.ours.SampleMapper(name)(d2.data.DatasetCatalog.get(name)[0])
    answers = arch([clip, d2.ours.to_entry(a_sample())])
    assert len(answers[0]["frames"]) == len(clip["frames"])
    assert answers[0]["frames"][0].image_size == (clip["height"], clip["width"])
    assert answers[1]["instances"].image_size == (40, 56)
    scorer = d2.ours.evaluator(name)
    scorer.process([clip], answers[:1])
    assert 0 <= scorer.evaluate()["video"]["J&F"] <= 100


def test_training_gives_the_losses_by_name(d2: SimpleNamespace, arch: Any) -> None:
    arch.model.vision.requires_grad_(False)
    arch.train()
    assert arch.model.training and not arch.model.vision.training
    vqa = a_sample(task=Task.VQA, masks=None, distractors=None, reference_frames=())
    losses = arch([d2.ours.to_entry(a_sample()), d2.ours.to_entry(vqa)])
    assert losses.keys() == {"loss_mask", "loss_dice", "loss_class", "loss_selection", "loss_text"}
    assert all(bool(loss.isfinite()) for loss in losses.values())
    sum(losses.values()).backward()
    assert float(arch.model.mask_queries.grad.abs().sum()) > 0


def test_the_architecture_is_built_from_a_configuration(
    d2: SimpleNamespace, checkpoint: Path, arch: Any
) -> None:
    cfg = d2.ours.add_config(d2.config.get_cfg())
    assert set(cfg.MODEL.INSTRUCTSEG.CRITERION) == {entry.name for entry in fields(CriterionConfig)}
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.INSTRUCTSEG.NAME = str(checkpoint)
    cfg.MODEL.INSTRUCTSEG.MAX_INSTANCES = 3
    cfg.MODEL.INSTRUCTSEG.CRITERION.num_points = 64
    built = d2.modeling.META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    assert (built.max_instances, built.threshold, built.criterion.config.num_points) == (3, 0.0, 64)
    wanted = arch.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in built.state_dict().items())
    cfg.INPUT.FORMAT = "BGR"
    with pytest.raises(ValueError, match=r"INPUT\.FORMAT is BGR: set it to RGB"):
        type(built)(cfg)
    with pytest.raises(ValueError, match=r"threshold must be 0\.\.1 .* got 2\.0, 1"):
        type(built)(model=arch.model, processor=arch.processor, threshold=2.0)


def test_weights_that_detectron2_saved(d2: SimpleNamespace, arch: Any, tmp_path: Path) -> None:
    saved = {name: tensor + 1 for name, tensor in arch.state_dict().items()}
    torch.save({"model": saved, "iteration": 5, "optimizer": {"state": {}}}, tmp_path / "model_final.pth")
    d2.ours.load_weights(arch, tmp_path / "model_final.pth")
    assert all(torch.equal(tensor, saved[name]) for name, tensor in arch.state_dict().items())
    saved.pop("model.mask_queries")
    torch.save({"model": saved}, tmp_path / "cut.pth")
    with pytest.raises(ValueError, match=r"cut\.pth does not fit the model: .*mask_queries"):
        d2.ours.load_weights(arch, tmp_path / "cut.pth")


@pytest.mark.parametrize("form", ["model_final.pkl", "model_final.pth"])
def test_weights_of_a_mask2former(
    form: str, d2: SimpleNamespace, arch: Any, official: Path, official_tensors: Any, tmp_path: Path
) -> None:
    file = write(mask2former(official_tensors), tmp_path / form)
    with pytest.raises(ValueError, match=r"other sizes: backbone\.\S+ is \[.*\], in the model it is "):
        d2.ours.load_weights(arch, file)
    model = load_official(official)
    wanted = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    branch = ("backbone.", "pixel_decoder.", "mask_decoder.")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    d2.ours.load_weights(d2.ours.InstructSegArch(model=model, processor=arch.processor), file)
    own = ("mask_decoder.query_proj", "mask_decoder.score_proj")  # a Mask2Former has none
    fresh = ("pixel_decoder.decoder.adapter_1.0.bias", "pixel_decoder.decoder.layer_1.0.bias")
    for name, tensor in model.state_dict().items():
        if name in fresh:
            assert not tensor.any()
        elif name.startswith(branch) and not name.startswith(own):
            assert torch.equal(tensor, wanted[name]), name
        elif tensor.is_floating_point():
            assert not torch.equal(tensor, wanted[name]), name
