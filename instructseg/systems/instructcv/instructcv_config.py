"""Settings of an InstructCV checkpoint: ``config.json`` beside the folders of its pipeline."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from instructseg.files import read_object, write_json_atomic
from instructseg.systems.codecs import Rgb

CONFIG_FILE = "config.json"


@dataclass(frozen=True)
class InstructCVConfig:
    """Settings of a checkpoint; the defaults are those of the released one, which has no such file.

    Attributes:
        image_size: side in pixels to which images are resized.
        steps: of the scheduler.
        text_guidance, image_guidance: scales of the guidance; without it where the first is at most 1.
        box_colour: of drawn boxes; blue in the released data, though the paper says red.
        smooth_boxes: whether the box decoder filters first, which removes lines of one pixel.
        far: metres that are white in a depth map.
        patch: side in pixels of the patches that are the latents of a tiny model; 0 for the VAE of the folder.
    """

    image_size: int = 256
    steps: int = 100
    text_guidance: float = 7.5
    image_guidance: float = 1.5
    box_colour: Rgb = (0, 0, 255)
    smooth_boxes: bool = True
    far: float = 10.0
    patch: int = 0

    def __post_init__(self) -> None:
        for name in ("image_size", "steps"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= 4096:
                raise ValueError(f"{name} must be a number from 1 to 4096, got {value!r}")
        for name in ("text_guidance", "image_guidance", "far"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value <= 1000:
                raise ValueError(f"{name} must be above 0 and at most 1000, got {value!r}")
        if self.patch not in (0, 2, 4, 8) or (self.patch and self.image_size % self.patch):
            raise ValueError(f"patch must be 0, 2, 4 or 8 and divide image_size, got {self.patch!r}")
        colour = self.box_colour
        if len(colour) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in colour):
            raise ValueError(f"box_colour must be three numbers of 0..255, got {colour!r}")

    @classmethod
    def read(cls, folder: Path) -> InstructCVConfig:
        """The settings in a folder; those of the released weights where it has no file.

        Raises:
            ValueError: the file is damaged, or a value is not allowed; it is named.
        """
        file = folder / CONFIG_FILE
        if not file.is_file():
            return cls()
        values = {name: value for name, value in read_object(file).items() if name in cls.__annotations__}
        try:
            return cls(**{**values, "box_colour": tuple(values.get("box_colour", cls.box_colour))})
        except (TypeError, ValueError) as error:
            raise ValueError(f"{file}: {error}") from error

    def write(self, folder: Path) -> None:
        """Writes ``config.json``."""
        write_json_atomic(folder / CONFIG_FILE, {"model_type": "instructcv", **asdict(self)})
