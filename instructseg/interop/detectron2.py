"""Detectron2: our data sets in its catalogs, our metrics as its evaluators, our model as its architecture.

The rest of this package does not know Detectron2, and nothing imports this module. What the model is given and
what it answers stands in :mod:`instructseg.interop.entries`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from instructseg.convert import load_mask2former
from instructseg.convert.readers import open_weights
from instructseg.criterion import CriterionConfig, SegCriterion
from instructseg.data.dataset import Dataset, Sentences
from instructseg.distributed import all_reduce_mean
from instructseg.engine.optim import train_mode
from instructseg.inference import VideoPredictor
from instructseg.inference.postprocess import all_masks, best_masks
from instructseg.interop.entries import Entry, planes, to_sample
from instructseg.interop.scores import GeneralizedScores, ReferringScores, Scores, VideoScores
from instructseg.interop.splits import WholeClips, splits
from instructseg.model import InstructSeg
from instructseg.pretrained import load_pretrained
from instructseg.processing import InstructSegProcessor
from instructseg.structures import IGNORE_PIXEL, Geometry, Sample, Task

try:
    from detectron2.config import CfgNode, configurable
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.evaluation import DatasetEvaluator
    from detectron2.modeling import META_ARCH_REGISTRY
    from detectron2.structures import BitMasks, Instances
except ImportError as error:
    raise ImportError(
        f"Detectron2 cannot be imported ({error}); it is not on the package index, so install it from its "
        "repository: python -m pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2.git"
    ) from error

PREFIX = "instructseg_"
"""What the names of :func:`register_all` begin with."""


def register(name: str, opener: Callable[[], Dataset | WholeClips], metrics: str = "referring") -> None:
    """Registers a data set in both catalogs, replacing any of the same name.

    Args:
        name: in the catalogs.
        opener: opens it; called once, when it is first asked for.
        metrics: a key of :data:`EVALUATORS`; ``evaluator_type`` of the metadata.
    """
    for catalog in (DatasetCatalog, MetadataCatalog):
        if name in catalog:
            catalog.remove(name)
    opened = cache(opener)
    DatasetCatalog.register(name, partial(_records, name, opened))
    MetadataCatalog.get(name).set(evaluator_type=metrics, thing_classes=["target"], open=opened)


def register_all(
    root: str | Path, places: Mapping[str, str | Path] | None = None, sentences: Sentences = "joined"
) -> list[str]:
    """Registers every split of every data set, as ``instructseg_refcoco_val`` etc.; reads nothing.

    Args and errors are those of :func:`instructseg.interop.splits.splits`. Returns the names.
    """
    names = []
    for split in splits(root, places, sentences):
        names.append(PREFIX + split.name)
        register(names[-1], split.open, split.metrics)
    return names


def _records(name: str, opened: Callable[[], Dataset | WholeClips]) -> list[Entry]:
    """Records of the catalog, with the location of the pixels only."""
    dataset = opened()
    return [
        {"dataset": name, "index": index, "image_id": index, "file_name": dataset.image_key(index)}
        for index in range(len(dataset))
    ]


class SampleMapper:
    """Mapper for Detectron2's loaders: from a record of the catalog to a model input.

    Args:
        names: of the data sets that the records are of.
        training: whether frames and wordings are drawn, from PyTorch's generator of the loader's worker.
    """

    def __init__(self, *names: str, training: bool = False) -> None:
        self.datasets = {name: MetadataCatalog.get(name).open() for name in names}
        self.training = training

    def __call__(self, record: Entry) -> Entry:
        """The record with its sample; raises as the data set."""
        dataset, index = self.datasets[record["dataset"]], record["index"]
        if isinstance(dataset, WholeClips):
            return {**record, **dataset[index]}
        if self.training:
            rng = np.random.default_rng(int(torch.randint(2**31, ())))
            return {**record, **to_entry(dataset.draw(index, rng))}
        return {**record, **to_entry(dataset[index])}


def ask_categories(records: Iterable[Entry], classes: Sequence[str]) -> list[Entry]:
    """A detection data set as instructions, one per image and class name.

    Args:
        records: in Detectron2's standard format; those returned may go through any of its mappers.
        classes: ``thing_classes`` of the data set.
    """
    return [
        {**record, "instruction": name, "category_id": number}
        for record in records
        for number, name in enumerate(classes)
    ]


def to_entry(sample: Sample) -> Entry:
    """A sample as a model input; the inverse of :func:`to_sample`."""
    size = sample.key_frame.shape[:2]
    entry: Entry = {
        "image": planes(sample.key_frame),
        "height": size[0],
        "width": size[1],
        "instruction": sample.instruction,
        "task": sample.task.value,
        "references": [planes(frame) for frame in sample.reference_frames],
        **{key: getattr(sample, key) for key in ("answer", "explain", "name", "meta")},
    }
    if sample.masks is not None:
        masks = BitMasks(torch.from_numpy(sample.masks == 1))
        classes = torch.zeros(len(sample.masks), dtype=torch.int64)
        boxes = masks.get_bounding_boxes()
        entry["instances"] = Instances(size, gt_masks=masks, gt_boxes=boxes, gt_classes=classes)
        ignore = (sample.masks == IGNORE_PIXEL).any(0)
        if ignore.any():
            entry["ignore"] = torch.from_numpy(ignore)
    if sample.distractors is not None:
        entry["distractors"] = BitMasks(torch.from_numpy(sample.distractors == 1))
    return entry


class ReferringEvaluator(ReferringScores, DatasetEvaluator):
    """cIoU, gIoU and P@k."""


class GeneralizedEvaluator(GeneralizedScores, DatasetEvaluator):
    """gIoU, cIoU, N_acc, T_acc and P@k of gRefCOCO."""


class VideoEvaluator(VideoScores, DatasetEvaluator):
    """J&F, J and F of whole videos."""


EVALUATORS: Mapping[str, type[Scores]] = {
    "referring": ReferringEvaluator,
    "generalized": GeneralizedEvaluator,
    "video": VideoEvaluator,
}
"""``evaluator_type`` of a data set -> what scores it."""


def evaluator(name: str) -> Scores:
    """The evaluator of a registered data set."""
    return EVALUATORS[MetadataCatalog.get(name).evaluator_type]()


def add_config(cfg: Any) -> Any:
    """Extends a configuration of Detectron2 by our settings; returns it.

    ``MODEL.INSTRUCTSEG`` gets ``NAME`` (a model as of :func:`~instructseg.pretrained.load_pretrained`; empty
    for the bundled one), ``THRESHOLD`` (presence, 0..1, below which there is no instance), ``MAX_INSTANCES``
    (per instruction) and ``CRITERION`` (fields of :class:`~instructseg.criterion.CriterionConfig`).
    """
    cfg.MODEL.META_ARCHITECTURE = InstructSegArch.__name__
    cfg.MODEL.INSTRUCTSEG = CfgNode(
        {"NAME": "", "THRESHOLD": 0.0, "MAX_INSTANCES": 1, "CRITERION": CfgNode(asdict(CriterionConfig()))}
    )
    cfg.INPUT.FORMAT = "RGB"
    return cfg


@META_ARCH_REGISTRY.register()
class InstructSegArch(nn.Module):
    """The model as Detectron2 builds, trains and evaluates it; made from a configuration or from parts.

    Args:
        model: put on its device by whoever made it.
        processor: of that model.
        criterion: of the training.
        threshold: presence, 0..1, below which an answer has no instance.
        max_instances: most instances of an answer, best first; released: 1.
    """

    @configurable
    def __init__(
        self,
        *,
        model: InstructSeg,
        processor: InstructSegProcessor,
        criterion: SegCriterion | None = None,
        threshold: float = 0.0,
        max_instances: int = 1,
    ) -> None:
        super().__init__()
        if not 0 <= threshold <= 1 or max_instances < 1:
            raise ValueError(
                f"threshold must be 0..1 and max_instances at least 1, got {threshold}, {max_instances}"
            )
        self.model, self.processor = model, processor
        self.criterion = criterion or SegCriterion(CriterionConfig())
        self.threshold, self.max_instances = threshold, max_instances

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        """Constructor arguments from a configuration; see :func:`add_config`.

        Raises:
            ValueError: images are not RGB, or a setting does not exist.
        """
        if cfg.INPUT.FORMAT != "RGB":
            raise ValueError(f"INPUT.FORMAT is {cfg.INPUT.FORMAT}: set it to RGB, as add_config does")
        ours = cfg.MODEL.INSTRUCTSEG
        model, processor = load_pretrained(ours.NAME or None, cfg.MODEL.DEVICE)
        return {
            "model": model,
            "processor": processor,
            "criterion": SegCriterion(CriterionConfig(**ours.CRITERION)),
            "threshold": ours.THRESHOLD,
            "max_instances": ours.MAX_INSTANCES,
        }

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.device

    def train(self, mode: bool = True) -> InstructSegArch:
        """Sets the training mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        if mode:
            train_mode(self.model)
        return self

    def forward(self, batch: Sequence[Entry]) -> dict[str, torch.Tensor] | list[Entry]:
        """Losses by name in training, else a prediction per input; see :mod:`instructseg.interop.entries`.

        Raises:
            ValueError: an input is not what it should be; see :func:`to_sample`.
        """
        if self.training:
            samples = [to_sample(entry) for entry in batch]
            inputs = self.processor(samples, training=True).to(self.device)
            output, targets = self.model(inputs, aux=True), self.processor.targets(samples)
            # Detectron2 averages the gradients of the processes
            counts = all_reduce_mean(self.criterion.count(targets, inputs.labels))
            parts = self.criterion(output, targets, inputs.labels, counts).parts
            return {f"loss_{name}": loss for name, loss in parts.items()}
        images = iter(self._segment([entry for entry in batch if "frames" not in entry]))
        return [self._segment_clip(entry) if "frames" in entry else next(images) for entry in batch]

    def _segment(self, batch: list[Entry]) -> list[Entry]:
        """Predictions for instructions on images."""
        samples = [to_sample(entry) for entry in batch]
        if any(not sample.task.has_mask for sample in samples):
            raise ValueError("a question without a mask has no instances: ask ImagePredictor.answer instead")
        if not samples:
            return []
        inputs = self.processor(samples).to(self.device, self.model.dtype)
        output = self.model(inputs)
        assert output.mask_logits is not None and output.seg_logits is not None
        answers = []
        for row, (entry, geometry) in enumerate(zip(batch, inputs.geometry, strict=True)):
            height, width = geometry.original
            size = entry.get("height", height), entry.get("width", width)
            logits = output.mask_logits[row], output.seg_logits[row]
            masks, scores = self._best(*logits, replace(geometry, original=size))
            presence = float(output.seg_logits[row].float().sigmoid().max())
            answers.append(self._answer(masks, scores, presence, entry.get("category_id", 0)))
        return answers

    def _best(
        self, mask_logits: torch.Tensor, seg_logits: torch.Tensor, geometry: Geometry
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks ``bool[N, H, W]`` and scores ``float32[N]`` of the best queries of a row, best first."""
        if self.max_instances == 1:  # not every query needs to be enlarged
            best = best_masks(mask_logits[None], seg_logits[None], geometry)
            return best.logits > 0, best.score
        logits, scores = all_masks(mask_logits, seg_logits, geometry)
        order = scores.argsort(descending=True, stable=True)[: self.max_instances]
        return logits[order] > 0, scores[order]

    def _segment_clip(self, entry: Entry) -> Entry:
        """Predictions for every frame of a video."""
        predictor = VideoPredictor(self.model, self.processor)
        task = Task(entry.get("task", Task.RVOS))
        results = predictor.predict(entry["frames"], entry["instruction"], task, all_instances=False)
        frames = []
        for result in results:
            (found,) = result.predictions
            masks, scores = torch.from_numpy(found.mask)[None], torch.tensor([found.score])
            answer = self._answer(masks, scores, found.presence, entry.get("category_id", 0))
            frames.append(answer["instances"])
        return {"frames": frames}

    def _answer(self, masks: torch.Tensor, scores: torch.Tensor, presence: float, category: int) -> Entry:
        """An output; empty masks are no instances."""
        kept = masks.flatten(1).any(1) & (presence >= self.threshold)
        masks, scores = masks[kept], scores[kept]
        instances = Instances(
            tuple(masks.shape[1:]),
            pred_masks=masks,
            pred_boxes=BitMasks(masks).get_bounding_boxes(),
            scores=scores,
            pred_classes=torch.full_like(scores, category, dtype=torch.int64),
        )
        return {"instances": instances, "presence": presence}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Loads weights of this class, or those of a Mask2Former into the mask branch, whatever ``strict``.

        So a ``DetectionCheckpointer`` reads both.

        Raises:
            ValueError: a Mask2Former of other sizes.
        """
        if any(name.startswith("sem_seg_head.") for name in state_dict):
            return super().load_state_dict(self._from_mask2former(state_dict), strict=False, assign=assign)
        return super().load_state_dict(state_dict, strict, assign)

    def _from_mask2former(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        config = self.model.config
        with tempfile.TemporaryDirectory() as folder:  # the converter reads files
            file = Path(folder) / "mask2former.safetensors"
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
            found = load_mask2former(file, config.lateral, config.num_queries, config.learned_queries)
        ours = self.model.state_dict()
        for name, tensor in found.state.items():
            if name not in ours or ours[name].shape != tensor.shape:
                there = list(ours[name].shape) if name in ours else "not there"
                raise ValueError(
                    f"a Mask2Former of other sizes: {name} is {list(tensor.shape)}, in the model it is {there}"
                )
        return {f"model.{name}": tensor for name, tensor in found.state.items()}


def load_weights(model: InstructSegArch, path: str | Path) -> None:
    """Loads a ``.pth`` that Detectron2 saved of this model, or a Mask2Former ``.pkl`` or ``.pth``.

    Nothing in the file is executed, which ``DetectionCheckpointer`` cannot promise.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, or does not fit the model.
    """
    try:
        model.load_state_dict({name: tensor.clone() for name, tensor in open_weights(path)})
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the model: {str(error).splitlines()[-1].strip()}") from error
