"""Appearance of drawn scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from recipes.nano.scenes.casting import CLIP_PLOTS, PLOTS
from recipes.nano.scenes.objects import COLOURS, HELD_OUT, SHAPES, SIZES, TEXTURES
from recipes.nano.scenes.painting import BACKGROUNDS

MIN_SPAN = 2.5
"""Smallest ratio of the largest radius to the smallest for which small, medium and big are told apart."""


@dataclass(frozen=True)
class SceneConfig:
    """Appearance of scenes. Pairs are the smallest and the largest value, both included.

    Attributes:
        height: of the frames, in pixels.
        width: of the frames, in pixels.
        max_aspect: longer side over shorter side.
        frames: of a scene; 1 is an image, where nothing moves.
        objects: how many; a scene without room for what was drawn has fewer, but not below the smallest.
        radius: of an object, as a share of the shorter side; they differ by ``MIN_SPAN`` at least.
        overlap: how far two objects may run into each other in the middle frame, as a share of the sum
            of their radii; twice as far in the others.
        travel: of a moving object over the whole video, as a share of the shorter side.
        still: chance that an object of a video stays where it is.
        related: chance that an object takes its colour, its shape or both from an earlier one.
        colours: names of :data:`~recipes.nano.scenes.objects.COLOURS`.
        shapes: names of :data:`~recipes.nano.scenes.objects.SHAPES`.
        textures: name -> weight; a shape without room for one stays plain.
        backgrounds: name -> weight; ``photo`` counts where there are ``photos``.
        photos: ``uint8[h, w, 3]`` RGB each.
        digital: share of scenes that look as if made with a drawing program: an even ground, colours on the
            way to those of CSS, no light, and lines around half of what stands on a bright ground.
        fine: share of scenes whose objects are nearly all small and of about one size, between ``finest`` and
            the upper end of ``small``, so that there is room for many.
        finest: smallest radius in such scenes, as a share of the shorter side.
        around: radius about which the small objects of a scene are drawn, likewise; 0 for any that counts as
            small.
        purpose: what the scene is for: ``any``, or a name of :data:`~recipes.nano.scenes.casting.PLOTS`, which
            settle looks and motions; ``objects`` then bounds how many where the purpose leaves a choice.
        held_out: false never draws a pair of :data:`~recipes.nano.scenes.objects.HELD_OUT`; true draws one
            in every scene.

    Raises:
        ValueError: on an unknown name or an empty range.
    """

    height: Sequence[int] = (96, 192)
    width: Sequence[int] = (96, 192)
    max_aspect: float = 1.6
    frames: int = 1
    objects: Sequence[int] = (2, 5)
    radius: Sequence[float] = (0.08, 0.27)
    overlap: float = 0.12
    travel: Sequence[float] = (0.2, 0.5)
    still: float = 0.25
    related: float = 0.5
    colours: Sequence[str] = tuple(COLOURS)
    shapes: Sequence[str] = tuple(SHAPES)
    textures: Mapping[str, float] = field(default_factory=lambda: {"plain": 0.6, "striped": 0.2, "dotted": 0.2})
    backgrounds: Mapping[str, float] = field(
        default_factory=lambda: {**dict.fromkeys(BACKGROUNDS, 1.0), "photo": 4.0}
    )
    photos: Sequence[np.ndarray] = field(default=(), repr=False, compare=False)
    digital: float = 0.0
    fine: float = 0.0
    finest: float = 0.04
    around: float = 0.0
    purpose: str = "any"
    held_out: bool = False

    def __post_init__(self) -> None:
        for name, lowest in (("height", 32), ("width", 32), ("objects", 1), ("radius", 0.02), ("travel", 0)):
            value = getattr(self, name)
            if len(value) != 2 or not lowest <= value[0] <= value[1]:
                raise ValueError(f"{name} must be two rising numbers of at least {lowest}, got {value}")
        if self.radius[1] < MIN_SPAN * self.radius[0]:
            raise ValueError(f"the largest radius must be {MIN_SPAN} times the smallest, got {self.radius}")
        for name in ("digital", "fine"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a share of 0 to 1, got {getattr(self, name)}")
        if self.fine and not 0.02 <= self.finest < self.small_end:
            raise ValueError(f"finest must lie between 0.02 and {self.small_end:.3f}, got {self.finest}")
        if self.frames < 1:
            raise ValueError(f"frames must be at least 1, got {self.frames}")
        if self.objects[1] > 254:
            raise ValueError(f"objects must be at most 254, got {self.objects[1]}")
        if self.max_aspect < max(self.height[0] / self.width[1], self.width[0] / self.height[1], 1):
            raise ValueError(f"no frame of these heights and widths has max_aspect {self.max_aspect}")
        for name, known in (
            ("colours", COLOURS),
            ("shapes", SHAPES),
            ("textures", TEXTURES),
            ("backgrounds", [*BACKGROUNDS, "photo"]),
        ):
            chosen = getattr(self, name)
            if not chosen or set(chosen) - set(known):
                raise ValueError(f"{name} must be some of {', '.join(known)}, got {', '.join(chosen)}")
        if self.purpose not in ("any", *PLOTS):
            raise ValueError(f"purpose must be any or one of {', '.join(PLOTS)}, got {self.purpose}")
        if self.purpose in CLIP_PLOTS and self.frames < 2:
            raise ValueError(f"the purpose {self.purpose} needs at least 2 frames, got {self.frames}")
        if not self.background_weights():
            raise ValueError("backgrounds has only photo, but there are no photos")
        if not self.pairs(self.held_out):
            where = "in" if self.held_out else "outside"
            raise ValueError(f"the colours and shapes leave no pair {where} HELD_OUT")

    @property
    def small_end(self) -> float:
        """The largest radius of a small object, as a share of the shorter side."""
        return self.radius[0] * (self.radius[1] / self.radius[0]) ** SIZES["small"][1]

    def background_weights(self) -> dict[str, float]:
        """The paintable ones of ``backgrounds``."""
        return {name: w for name, w in self.backgrounds.items() if name != "photo" or len(self.photos)}

    def pairs(self, held_out: bool) -> list[tuple[str, str]]:
        """The configuration's pairs of colour and shape in, or outside, ``HELD_OUT``."""
        return [p for p in product(self.colours, self.shapes) if (p in HELD_OUT) == held_out]
