"""Images and videos of results, read back with Pillow and PyAV."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from instructseg.media import open_video
from instructseg.results.raster_formats import with_edges
from instructseg.results.result_format import FoundObject
from tests.results.scenes import LENGTH, PROMPTS, SIZE, TIMES, contents_hold, frame, masks, result, written


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


@pytest.mark.parametrize("legend", ["inside", "none", "below"])
@pytest.mark.parametrize("name", ["overlay", "outline"])
def test_overlays_of_an_image(tmp_path: Path, name: str, legend: str) -> None:
    drawn = read(written(name, tmp_path, legend=legend))
    if legend == "below":
        assert drawn.shape[0] > SIZE[0] and drawn.shape[1] == SIZE[1]
    else:
        assert drawn.shape == (*SIZE, 3)
    inside = np.zeros(SIZE, bool)
    inside[8:11, 14:22] = True  # of the first dog, away from its outline
    same = (drawn[: SIZE[0]] == frame()).all(2)
    assert same[inside].all() == (name == "outline")
    outside = np.zeros(SIZE, bool)
    outside[:4, :] = True
    assert same[outside].all()
    if legend == "none":
        assert same[40:, :30].all()


@pytest.mark.parametrize("legend", ["inside", "none"])
def test_overlay_of_a_video_keeps_size_and_times(tmp_path: Path, legend: str) -> None:
    video = open_video(written("overlay", tmp_path, video=True, legend=legend))
    drawn = list(video)
    assert len(drawn) == LENGTH and drawn[0].shape == (48, 66, 3)  # 4:2:0 has even sizes
    assert np.allclose(np.diff([video.time(i) for i in range(LENGTH)]), np.diff(TIMES), atol=1e-3)


def test_masks_are_named_and_empty_where_nothing_is(tmp_path: Path) -> None:
    target = written("masks", tmp_path)
    names = ["1-the-dog-2.png", "1-the-dog.png", "2-the-cat.png", "3-the-ball.png"]
    assert sorted(path.name for path in target.iterdir()) == names
    seen = masks(4)
    for name, key in zip(names, ("dog 2", "dog 1", "cat", "ball"), strict=True):
        assert (read(target / name) == np.uint8(255) * seen[key]).all()
    assert contents_hold("masks", tmp_path, video=False)
    soft = read(written("masks", tmp_path / "soft", soft=True) / "3-the-ball.png")
    assert (soft == np.uint8(191) * seen["ball"]).all()


@pytest.mark.parametrize("names", [(), tuple(f"img{i}.JPG" for i in (3, 5, 8, 9, 10))])
def test_masks_of_a_video_are_named_as_its_frames(tmp_path: Path, names: tuple[str, ...]) -> None:
    target = written("masks", tmp_path, video=True, frame_names=names)
    stems = [name[:-4] for name in names] or [f"{i:05d}" for i in range(LENGTH)]
    for folder, key in (
        ("1-the-dog", "dog 1"),
        ("1-the-dog-2", "dog 2"),
        ("2-the-cat", "cat"),
        ("3-the-ball", "ball"),
    ):
        assert sorted(path.stem for path in (target / folder).iterdir()) == sorted(stems)
        for i, stem in enumerate(stems):
            assert (read(target / folder / f"{stem}.png") == np.uint8(255) * masks(i)[key]).all()
    lines = (target / "times.csv").read_text().splitlines()
    assert lines[0] == "index,file,time,fps" and lines[3] == f"2,{stems[2]}.png,2.2,12.5"
    assert contents_hold("masks", tmp_path, video=True, stems=tuple(stems) if names else ())


def test_a_palette_gives_overlaps_to_the_higher_score(tmp_path: Path) -> None:
    ids, seen = read(written("palette", tmp_path)), masks(4)
    dogs = seen["dog 1"] | seen["dog 2"]
    assert (seen["ball"] & dogs).any()
    assert (ids == np.where(dogs, 1, np.where(seen["ball"], 3, 0))).all()
    with Image.open(tmp_path / "photo_palette.png") as image:
        assert image.mode == "P"


def test_edges_of_a_palette_are_255(tmp_path: Path) -> None:
    ids, seen = read(written("palette", tmp_path, edge=2)), masks(4)
    assert set(np.unique(ids)) == {0, 1, 3, 255}
    one = np.zeros(SIZE, bool)
    one[5:20, 3 + 8 : 20 + 8] = True
    assert (ids[4, 12:27] == 255).all() and (ids[5, 12:27] == 255).all() and (ids[3, 12:27] == 0).all()
    assert ids[7, 15] == 1 and seen["dog 1"][7, 15]
    mask = np.zeros((6, 6), bool)
    mask[:, :3] = True  # cut by the border of the image, which is no edge
    found = FoundObject(result().predictions[0].__class__(mask, 1.0, 1.0), 0, 1, 1, 1)
    edged = with_edges(mask.astype(int), [found], 2)
    assert (edged == [[1, 1, 255, 255, 0, 0]] * 6).all()
    assert (with_edges(mask.astype(int), [found], 0) == mask).all()


def test_cut_outs(tmp_path: Path) -> None:
    target, seen = written("cutouts", tmp_path), masks(4)
    image = read(target / "1-the-dog-2.png")
    assert image.shape == (*SIZE, 4) and ((image[..., 3] == 255) == seen["dog 2"]).all()
    assert (image[..., :3] == frame()).all()
    assert not read(target / "2-the-cat.png")[..., 3].any()
    tmp_path /= "video"
    video = written("cutouts", tmp_path, video=True)
    assert (read(video / "3-the-ball/00003.png")[..., :3] == frame(3)).all()
    assert contents_hold("cutouts", tmp_path, video=True)


@pytest.mark.parametrize(("name", "decoder"), [("webm", "libvpx-vp9"), ("prores", "prores")])
def test_cut_out_videos_have_transparency(tmp_path: Path, name: str, decoder: str) -> None:
    target = written(name, tmp_path, video=True)
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        codec = av.CodecContext.create(decoder, "r")  # ffmpeg's own VP9 decoder leaves transparency out
        codec.extradata = stream.codec_context.extradata
        codec.width, codec.height = stream.codec_context.width, stream.codec_context.height
        codec.codec_tag = stream.codec_context.codec_tag
        shown = [
            frame.to_ndarray(format="rgba")
            for packet in container.demux(stream)
            for frame in codec.decode(packet)
        ]
    assert len(shown) == LENGTH
    for index, image in enumerate(shown):
        everything = np.any(list(masks(index).values()), axis=0)
        # lossy, and not alike in each run: of 50 encodings by VP9 the worst frame had .992, one of a suite .985
        assert ((image[: SIZE[0], : SIZE[1], 3] > 127) == everything).mean() > 0.97
    assert (
        read(written(name, tmp_path))[..., 3] == np.uint8(255) * np.any(list(masks(4).values()), axis=0)
    ).all()


def test_frames_are_those_of_the_input(tmp_path: Path) -> None:
    target = written("frames", tmp_path, video=True)
    assert all((read(target / f"{i:05d}.png") == frame(i)).all() for i in range(LENGTH))
    assert (target / "times.csv").read_text().count("\n") == LENGTH + 1
    assert (read(written("frames", tmp_path)) == frame()).all()
    assert len(PROMPTS) == 3
