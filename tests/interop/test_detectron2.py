"""On the real Detectron2: its loaders, its evaluation loop and evaluators, its trainers, its checkpointer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from instructseg.convert import load_official
from instructseg.data.datasets.refcoco import RefCoco
from instructseg.evaluation import IouSums
from instructseg.inference.postprocess import postprocess
from instructseg.media import save_image
from tests.convert.test_mask2former import detectron2 as mask2former
from tests.convert.test_mask2former import write
from tests.interop.conftest import real

pytestmark = pytest.mark.detectron2
pytest.importorskip("detectron2")

VAL, TRAIN = "instructseg_refcoco_val", "instructseg_refcoco_train"


@pytest.fixture(scope="session")
def d2() -> SimpleNamespace:
    return real()


def loader(d2: SimpleNamespace, name: str, **options: Any) -> Any:
    records = d2.data.DatasetCatalog.get(name)
    return d2.data.build_detection_test_loader(records, mapper=d2.ours.SampleMapper(name), **options)


def directly(arch: Any, root: Path) -> IouSums:
    """The same sums without Detectron2."""
    dataset, sums = RefCoco.open(root / "refer_seg", "refcoco", "val", sentences="joined"), IouSums()
    for index in range(len(dataset)):
        inputs = arch.processor([dataset[index]])
        with torch.no_grad():
            (found,) = postprocess(arch.model(inputs), inputs)
        masks = dataset[index].masks
        assert masks is not None
        sums.add(found.mask, masks.max(0))
    return sums


def test_the_loop_gives_our_numbers(
    d2: SimpleNamespace, registered: list[str], arch: Any, root: Path, tmp_path: Path
) -> None:
    sums = directly(arch, root)
    alone = d2.evaluation.inference_on_dataset(arch, loader(d2, VAL), d2.ours.evaluator(VAL))
    assert alone["referring"]["cIoU"] == pytest.approx(100 * sums.ciou, abs=1e-9)
    assert alone["referring"]["gIoU"] == pytest.approx(100 * sums.giou, abs=1e-9)
    assert 0 < sums.ciou < 1
    both = d2.evaluation.DatasetEvaluators([d2.ours.ReferringEvaluator(), d2.ours.GeneralizedEvaluator()])
    workers = loader(d2, VAL, batch_size=3, num_workers=1)
    together = d2.evaluation.inference_on_dataset(arch, workers, both)
    assert together["referring"] == pytest.approx(alone["referring"])
    assert together["generalized"]["cIoU"] == pytest.approx(alone["referring"]["cIoU"])


def test_videos_are_evaluated(d2: SimpleNamespace, registered: list[str], arch: Any) -> None:
    name = "instructseg_mevis_valid_u_clips"
    results = d2.evaluation.inference_on_dataset(arch, loader(d2, name), d2.ours.evaluator(name))
    assert results["video"]["J&F"] == pytest.approx((results["video"]["J"] + results["video"]["F"]) / 2)


class Knowing(torch.nn.Module):
    """Answers with the truth that its inputs carry, through the architecture's own output."""

    def __init__(self, arch: Any, masks: dict[tuple[int, int], torch.Tensor]) -> None:
        super().__init__()
        self.arch, self.masks = arch, masks

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answers = []
        for entry in batch:
            masks = self.masks[entry["image_id"], entry["category_id"]]
            scores = torch.full((len(masks),), 0.9)
            answers.append(self.arch._answer(masks, scores, 1.0, entry["category_id"]))
        return answers


def polygon(left: int, top: int, width: int, height: int) -> list[int]:
    return [left, top, left + width, top, left + width, top + height, left, top + height]


@pytest.fixture
def coco(d2: SimpleNamespace, tmp_path: Path) -> Iterator[str]:
    """A detection data set in COCO's format: two images, three objects of two classes."""
    from detectron2.data.datasets import register_coco_instances

    boxes = [(1, 7, (4, 5, 20, 12)), (1, 7, (30, 20, 15, 15)), (2, 9, (8, 8, 24, 18))]
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "segmentation": [polygon(*box)],
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for number, (image, category, box) in enumerate(boxes, 1)
    ]
    rng = np.random.default_rng(0)
    for image in (1, 2):
        save_image(tmp_path / f"{image}.png", rng.integers(0, 256, (40, 56, 3), np.uint8))
    content = {
        "info": {},
        "images": [{"id": image, "file_name": f"{image}.png", "height": 40, "width": 56} for image in (1, 2)],
        "categories": [{"id": 7, "name": "circle"}, {"id": 9, "name": "square"}],
        "annotations": annotations,
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    register_coco_instances("a_coco_set", {}, str(tmp_path / "coco.json"), str(tmp_path))
    d2.data.DatasetCatalog.get("a_coco_set")  # fills the metadata
    yield "a_coco_set"
    d2.data.DatasetCatalog.remove("a_coco_set")
    d2.data.MetadataCatalog.remove("a_coco_set")


@pytest.mark.parametrize("fast", [False, True])
def test_coco_evaluator_takes_our_outputs(
    fast: bool, d2: SimpleNamespace, coco: str, arch: Any, tmp_path: Path
) -> None:
    from pycocotools.coco import COCO

    metadata = d2.data.MetadataCatalog.get(coco)
    records = d2.ours.ask_categories(d2.data.DatasetCatalog.get(coco), metadata.thing_classes)
    mapper = d2.data.DatasetMapper(is_train=False, augmentations=[], image_format="RGB")
    data = d2.data.build_detection_test_loader(records, mapper=mapper, batch_size=2)
    scorer = d2.evaluation.COCOEvaluator(coco, output_dir=str(tmp_path / "out"), use_fast_impl=fast)
    arch.max_instances = 3
    results = d2.evaluation.inference_on_dataset(arch, data, d2.evaluation.DatasetEvaluators([scorer]))
    assert 0 <= results["segm"]["AP"] < 100
    assert 0 <= results["bbox"]["AP"] < 100

    api = COCO(metadata.json_file)
    masks = {}
    for record in records:
        numbers = {v: k for k, v in metadata.thing_dataset_id_to_contiguous_id.items()}
        ids = api.getAnnIds([record["image_id"]], [numbers[record["category_id"]]])
        found = [api.annToMask(annotation) for annotation in api.loadAnns(ids)]
        empty = np.zeros((0, record["height"], record["width"]), np.uint8)
        masks[record["image_id"], record["category_id"]] = torch.from_numpy(
            np.stack(found) if found else empty
        ).bool()
    perfect = d2.evaluation.inference_on_dataset(Knowing(arch, masks), data, scorer)
    assert perfect["segm"]["AP"] == pytest.approx(100)


def test_a_mapped_detection_set_trains(d2: SimpleNamespace, coco: str, arch: Any) -> None:
    metadata = d2.data.MetadataCatalog.get(coco)
    records = d2.ours.ask_categories(d2.data.DatasetCatalog.get(coco), metadata.thing_classes)
    mapper = d2.data.DatasetMapper(
        is_train=True,
        augmentations=[],
        image_format="RGB",
        use_instance_mask=True,
        instance_mask_format="bitmask",
    )
    losses = arch.train()([mapper(record) for record in records[:3]])
    assert all(bool(loss.isfinite()) for loss in losses.values())
    polygons = d2.data.DatasetMapper(
        is_train=True, augmentations=[], image_format="RGB", use_instance_mask=True
    )
    with pytest.raises(ValueError, match="masks are PolygonMasks"):
        arch([polygons(record) for record in records])


def test_simple_trainer_learns(d2: SimpleNamespace, registered: list[str], arch: Any) -> None:
    from detectron2.engine import SimpleTrainer

    torch.manual_seed(0)
    records = d2.data.DatasetCatalog.get(TRAIN)[:2]
    mapper = d2.ours.SampleMapper(TRAIN)
    data = d2.data.build_detection_train_loader(records, mapper=mapper, total_batch_size=2, num_workers=0)
    optimizer = torch.optim.AdamW(arch.parameters(), 1e-3)
    trainer = SimpleTrainer(arch, data, optimizer)
    trainer.train(0, 12)
    totals = [value for value, _ in trainer.storage.history("total_loss").values()]
    assert len(totals) == 12
    assert np.mean(totals[-3:]) < 0.8 * np.mean(totals[:3])


def configuration(d2: SimpleNamespace, checkpoint: Path, folder: Path) -> Any:
    cfg = d2.ours.add_config(d2.config.get_cfg())
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.INSTRUCTSEG.NAME = str(checkpoint)
    cfg.MODEL.INSTRUCTSEG.CRITERION.num_points = 256
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (TRAIN,), (VAL,)
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.BASE_LR = 2, 2, 1e-4
    cfg.SOLVER.CHECKPOINT_PERIOD = cfg.TEST.EVAL_PERIOD = 2
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.OUTPUT_DIR = str(folder)
    return cfg


def test_default_trainer_trains_evaluates_saves_and_resumes(
    d2: SimpleNamespace, registered: list[str], checkpoint: Path, tmp_path: Path
) -> None:
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.engine import DefaultTrainer

    class Trainer(DefaultTrainer):
        @classmethod
        def build_train_loader(cls, cfg: Any) -> Any:
            mapper = d2.ours.SampleMapper(*cfg.DATASETS.TRAIN, training=True)
            return d2.data.build_detection_train_loader(cfg, mapper=mapper)

        @classmethod
        def build_test_loader(cls, cfg: Any, dataset_name: str) -> Any:
            return loader(d2, dataset_name)

        @classmethod
        def build_evaluator(cls, cfg: Any, dataset_name: str) -> Any:
            return d2.ours.evaluator(dataset_name)

    cfg = configuration(d2, checkpoint, tmp_path)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    results = trainer._last_eval_results
    assert results["referring"].keys() >= {"cIoU", "gIoU", "P@0.5"}
    saved = tmp_path / "model_final.pth"
    trained = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}

    cfg.SOLVER.MAX_ITER = 3
    again = Trainer(cfg)
    assert any(not torch.equal(t, trained[name]) for name, t in again.model.state_dict().items())
    again.resume_or_load(resume=True)
    assert again.start_iter == 2
    for load in (
        lambda model: None,
        lambda model: DetectionCheckpointer(model).load(str(saved)),
        lambda model: d2.ours.load_weights(model, saved),
    ):
        load(again.model)
        assert all(torch.equal(t, trained[name]) for name, t in again.model.state_dict().items())
        with torch.no_grad():
            for parameter in again.model.parameters():
                parameter.zero_()


@pytest.mark.parametrize("heuristics", [False, True])
def test_detection_checkpointer_reads_a_mask2former(
    heuristics: bool, d2: SimpleNamespace, arch: Any, official: Path, official_tensors: Any, tmp_path: Path
) -> None:
    import pickle

    from detectron2.checkpoint import DetectionCheckpointer

    tensors = mask2former(official_tensors)
    model = load_official(official)
    ours = d2.ours.InstructSegArch(model=model, processor=arch.processor)
    kernel = next(name for name in model.state_dict() if name.startswith("backbone.") and "projection" in name)
    wanted = model.state_dict()[kernel].clone()
    file = write(tensors, tmp_path / "model_final.pkl")
    content = {"model": {k: v.numpy() for k, v in tensors.items()}, "__author__": "a zoo"}
    file.write_bytes(pickle.dumps({**content, "matching_heuristics": heuristics}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    DetectionCheckpointer(ours).load(str(file))
    state = model.state_dict()
    assert torch.equal(state[kernel], wanted)
    assert not state["mask_queries"].any()
    filled = [name for name, tensor in state.items() if name.startswith("mask_decoder.") and tensor.any()]
    assert len(filled) > 20


def _evaluate(checkpoint: str, root: str, out: str) -> None:
    """What each of two processes does."""
    d2 = real()
    d2.ours.register_all(root)
    arch = d2.modeling.build_model(configuration(d2, Path(checkpoint), Path(out))).eval()
    results = d2.evaluation.inference_on_dataset(arch, loader(d2, VAL), d2.ours.evaluator(VAL))
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    Path(out, f"{rank}.json").write_text(json.dumps(results["referring"]))


def test_two_processes_give_the_numbers_of_one(
    d2: SimpleNamespace, checkpoint: Path, root: Path, tmp_path: Path
) -> None:
    from detectron2.engine import launch

    launch(_evaluate, num_gpus_per_machine=2, dist_url="auto", args=(str(checkpoint), str(root), str(tmp_path)))
    two = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    _evaluate(str(checkpoint), str(root), str(tmp_path))
    assert two[0] == two[1] == json.loads((tmp_path / "0.json").read_text())
    for name in [name for name in d2.data.DatasetCatalog if name.startswith("instructseg_")]:
        d2.data.DatasetCatalog.remove(name)
        d2.data.MetadataCatalog.remove(name)
