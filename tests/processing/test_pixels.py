import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from instructseg.processing.pixels import ClipPixels, MaskBranchPixels
from tests.processing.conftest import GOLDEN

NAMES = ["landscape", "portrait", "large", "square"]
MASK_BRANCH, CLIP = MaskBranchPixels(128), ClipPixels(56)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "preproc.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", NAMES)
def test_pixels_are_the_official_ones(golden: dict[str, np.ndarray], name: str) -> None:
    frame = golden[f"{name}.raw_rgb"]
    pixels, geometry = MASK_BRANCH(frame)
    assert np.array_equal(pixels.numpy(), golden[f"{name}.swin_image"])
    assert np.array_equal(CLIP(frame).numpy(), golden[f"{name}.siglip_image"])
    everywhere = MASK_BRANCH.resize_mask(np.ones(frame.shape[:2], np.uint8), geometry)
    assert np.array_equal(everywhere == 0, golden[f"{name}.padding_mask"])


@pytest.mark.parametrize("name", NAMES)
def test_masks_lie_where_the_official_polygons_do(golden: dict[str, np.ndarray], name: str) -> None:
    from pycocotools import mask as coco

    height, width = golden[f"{name}.raw_rgb"].shape[:2]
    outline = golden[f"{name}.polygon_xy"].astype(float).tolist()
    mask = coco.decode(coco.frPyObjects([outline], height, width))[..., 0]
    ours = MASK_BRANCH.resize_mask(mask, MASK_BRANCH.geometry(height, width))
    truth = golden[f"{name}.gt_masks"][0]
    # the official code scales the outline, we scale its pixels: equal unless the size changes
    assert (ours & truth).sum() / (ours | truth).sum() >= (1 if (height, width) == (128, 128) else 0.97)


def test_clip_pixels_are_those_of_the_slow_processor() -> None:
    from PIL import Image

    frame = np.random.default_rng(0).integers(0, 256, (37, 91, 3), dtype=np.uint8)
    squashed = np.array(Image.fromarray(frame).resize((56, 56), Image.Resampling.BICUBIC))
    expected = (squashed.astype(np.float64) / 255 - 0.5) / 0.5
    assert np.allclose(CLIP(frame).permute(1, 2, 0).numpy(), expected, atol=1e-6)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_the_long_side_fills_the_square(height: int, width: int) -> None:
    geometry = MaskBranchPixels(1024).geometry(height, width)
    assert geometry.original == (height, width) and geometry.padded == (1024, 1024)
    assert max(geometry.resized) == 1024 and min(geometry.resized) >= 1
    scale = 1024 / max(height, width)
    for before, after in zip(geometry.original, geometry.resized, strict=True):
        assert abs(before * scale - after) <= 0.5 + 1e-9 or after == 1


def test_padding_has_the_raw_value() -> None:
    white = np.full((16, 32, 3), 255, np.uint8)
    pixels, _ = MaskBranchPixels(64, mean=(0, 0, 0), std=(1, 1, 1), pad_value=7)(white)
    assert (pixels[:, :32] == 255).all() and (pixels[:, 32:] == 7).all()
    assert pixels.is_contiguous() and pixels.dtype == torch.float32


def test_mask_values_survive() -> None:
    mask = np.array([[0, 1], [255, 1]], np.uint8)
    branch = MaskBranchPixels(32)
    resized = branch.resize_mask(mask, branch.geometry(2, 2))
    assert np.array_equal(resized, np.kron(mask, np.ones((16, 16), np.uint8)))
    views = branch.resize_mask(np.zeros((2, 4), np.uint8)[:, ::2].astype(bool), branch.geometry(2, 2))
    assert views.sum() == 0


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3)])
def test_a_frame_without_pixels_is_refused(shape: tuple[int, int, int]) -> None:
    frame = np.zeros(shape, np.uint8)
    for encode in (MASK_BRANCH, CLIP):
        with pytest.raises(ValueError, match="has no pixels"):
            encode(frame)


@pytest.mark.parametrize(("shape", "kind"), [((4, 4), "uint8"), ((4, 4, 3), "float64"), ((4, 4, 4), "uint8")])
def test_invalid_frames_are_refused(shape: tuple[int, ...], kind: str) -> None:
    frame = np.zeros(shape, kind)
    with pytest.raises(ValueError, match=r"must be uint8\[H, W, 3\]"):
        MASK_BRANCH(frame)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="image_size 100 is not a positive multiple of 32"):
        MaskBranchPixels(100)
    with pytest.raises(ValueError, match=r"mask of \(3, 4\) does not fit a frame of \(4, 4\)"):
        MASK_BRANCH.resize_mask(np.zeros((3, 4), np.uint8), MASK_BRANCH.geometry(4, 4))
