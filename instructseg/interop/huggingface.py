"""Hugging Face: a pipeline of transformers, files for the hub, Inference Endpoints and Spaces.

::

    import instructseg  # registers the task, also after transformers
    from transformers import pipeline

    segment = pipeline("referring-segmentation", model="FOLDER_OR_REPOSITORY")
    segment("photo.jpg", "the dog on the left")
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from transformers import AutoConfig
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.base import Pipeline

from instructseg.files import write_text_atomic
from instructseg.inference import ImagePredictor
from instructseg.loading import load
from instructseg.model import InstructSeg, InstructSegConfig
from instructseg.prediction import Prediction
from instructseg.processing import InstructSegProcessor
from instructseg.version import __version__

TASK = "referring-segmentation"
"""Name of the pipeline."""
LABELLED = ("library_name: instructseg", "pipeline_tag: image-segmentation", "license: apache-2.0")


class ReferringSegmentationPipeline(Pipeline):  # type: ignore[misc]  # untyped
    """An image and instructions in; ``label``, ``score``, ``presence``, ``box`` and ``mask`` of each out.

    Masks are Pillow images of 0 and 255, as those of the pipeline ``image-segmentation``; what is not there has
    none in the list.
    """

    # the predictor has its own
    _load_processor = _load_tokenizer = _load_image_processor = False  # type: ignore[assignment]
    _load_feature_extractor = _load_video_processor = False  # type: ignore[assignment]

    def __init__(self, model: InstructSeg, *args: Any, **kwargs: Any) -> None:
        super().__init__(model, *args, **kwargs)
        processor = getattr(model, "processor", None)
        if processor is None:
            processor = InstructSegProcessor.from_pretrained(model.config.name_or_path)
        self.predictor = ImagePredictor(model, processor)

    def __call__(self, image: Any, instructions: str | Sequence[str], **options: Any) -> Any:  # type: ignore[override]
        """Segments an image: a path, a Pillow image or an array.

        Args:
            image: as of :meth:`instructseg.ImagePredictor.predict`.
            instructions: one or several.
            options: ``threshold`` and ``task``, as there.
        """
        return super().__call__({"image": image, "instructions": instructions}, **options)

    def _sanitize_parameters(self, **given: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        known = {"threshold", "task"}
        if unknown := given.keys() - known:
            raise ValueError(f"unknown option {', '.join(sorted(unknown))}: use {', '.join(sorted(known))}")
        return {}, given, {}

    def preprocess(self, inputs: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        """Nothing: the predictor prepares its input."""
        return inputs

    def _forward(self, inputs: dict[str, Any], **options: Any) -> list[Prediction]:  # type: ignore[override]
        return self.predictor.predict(inputs["image"], inputs["instructions"], **options)

    def postprocess(self, found: list[Prediction]) -> list[dict[str, Any]]:  # type: ignore[override]
        """Plain values of the objects that are there."""
        return [_values(one) for one in found if one.found]


def _values(one: Prediction) -> dict[str, Any]:
    from PIL import Image

    left, top, right, bottom = one.box or (0, 0, 0, 0)
    return {
        "label": one.label,
        "score": one.score,
        "presence": one.presence,
        "box": {"xmin": left, "ymin": top, "xmax": right, "ymax": bottom},
        "mask": Image.fromarray(one.mask.astype("uint8") * 255),
    }


def register_pipeline() -> None:
    """Registers the task ``referring-segmentation`` with ``transformers.pipeline``; again, it does nothing.

    Importing this module does so; ``import instructseg`` imports it as soon as ``transformers.pipelines`` is.
    """
    if TASK not in PIPELINE_REGISTRY.get_supported_tasks():
        AutoConfig.register(InstructSegConfig.model_type, InstructSegConfig, exist_ok=True)
        PIPELINE_REGISTRY.register_pipeline(
            TASK, pipeline_class=ReferringSegmentationPipeline, pt_model=(InstructSeg,), type="multimodal"
        )


register_pipeline()


class EndpointHandler:
    """Handler of Inference Endpoints, which a repository's ``handler.py`` imports.

    Args:
        path: of the repository's files.
    """

    def __init__(self, path: str = "") -> None:
        self.predictor = load(path or None)

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """Answers a request: ``inputs`` of ``image`` (base64) and ``instructions``, and ``parameters``.

        Returns:
            As of :class:`ReferringSegmentationPipeline`, masks as PNG in base64.

        Raises:
            ValueError: a part is missing or cannot be read.
        """
        from PIL import Image, UnidentifiedImageError

        inputs = data.get("inputs")
        if not isinstance(inputs, dict) or not {"image", "instructions"} <= set(inputs):
            raise ValueError("inputs needs image (base64) and instructions (a text or a list of texts)")
        options = data.get("parameters") or {}
        try:
            image = Image.open(BytesIO(base64.b64decode(inputs["image"], validate=True)))
            found = self.predictor.predict(image, inputs["instructions"], **options)
        except UnidentifiedImageError as error:
            raise ValueError("the image is damaged, or of an unknown format") from error
        answers = [_values(one) for one in found if one.found]
        for answer in answers:
            file = BytesIO()
            answer["mask"].save(file, "PNG")
            answer["mask"] = base64.b64encode(file.getvalue()).decode()
        return answers


def write_hub_files(folder: str | Path, name: str, wheel: str | Path | None = None) -> list[Path]:
    """Writes model card, ``handler.py`` and ``requirements.txt`` beside saved weights.

    Args:
        folder: that ``save_pretrained`` wrote.
        name: of the repository, ``owner/name``.
        wheel: of this package, copied beside them; ``None`` for a requirement by name and version.

    Returns:
        The files written; a model card that is there is kept.

    Raises:
        FileNotFoundError: the folder has no ``config.json``.
    """
    place = Path(folder)
    if not (place / "config.json").is_file():
        raise FileNotFoundError(f"{place} has no config.json: save a predictor there first (save_pretrained)")
    files = {
        "handler.py": "from instructseg.interop.huggingface import EndpointHandler  # noqa: F401\n",
        "requirements.txt": _requirement(place, wheel, ""),
    }
    if not (place / "README.md").exists():
        files["README.md"] = _card(name, InstructSegConfig.from_pretrained(place))
    return _write(place, files)


def write_space(folder: str | Path, model: str, wheel: str | Path | None = None) -> list[Path]:
    """Writes the folder of a Gradio Space that serves the web page for a model.

    Args:
        folder: created if missing.
        model: repository of the hub, ``owner/name``.
        wheel: as of :func:`write_hub_files`.

    Returns:
        The files written.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    head = "\n".join(["title: InstructSeg", "sdk: gradio", "app_file: app.py", f"models: [{model}]"])
    words = repr(["app", "--model", model, "--host", "0.0.0.0"])
    app = f"from instructseg.cli import app\n\napp({words})\n"
    files = {
        "README.md": f"---\n{head}\nlicense: apache-2.0\n---\n\nDescribe an object, get its mask.\n",
        "app.py": app,
        "requirements.txt": _requirement(place, wheel, "[app]"),
    }
    return _write(place, files)


def _write(folder: Path, files: dict[str, str]) -> list[Path]:
    for name, text in files.items():
        write_text_atomic(folder / name, text)
    return [folder / name for name in files]


def _requirement(folder: Path, wheel: str | Path | None, extra: str) -> str:
    if wheel is None:
        return f"instructseg{extra}=={__version__}\n"
    copied = shutil.copyfile(wheel, folder / Path(wheel).name)
    return f"instructseg{extra} @ file:./{copied.name}\n" if extra else f"./{copied.name}\n"


def _card(name: str, config: InstructSegConfig) -> str:
    """A model card: what the weights are, and how they are used."""
    head = "\n".join([*LABELLED, "tags: [referring-segmentation, reasoning-segmentation, video]"])
    language, backbone = config.text_config, config.backbone_config
    return f"""---
{head}
---

# {name.rpartition("/")[2]}

Segments what an instruction asks for, in images and video (InstructSeg, arXiv 2412.14006).

| part | kind |
|---|---|
| language model | `{language.model_type}`, width {language.hidden_size} |
| mask backbone | `{backbone.model_type}`, {config.num_queries} queries |

```python
from instructseg import ImagePredictor

predictor = ImagePredictor.from_pretrained("{name}")
for found in predictor.predict("photo.jpg", "the dog on the left"):
    print(found)
```

Trained on, evaluated on, limits: to be filled in by whoever publishes the weights.
"""
