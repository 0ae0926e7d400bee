from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from instructseg.data.clips import Clip, Expression, FrameFiles, Truth
from instructseg.data.records import DataError
from instructseg.data.referring_videos import (
    TRIALS,
    ReferringVideos,
    VideoSampling,
    joined,
    without,
)


class Drawn(Truth):
    """Object ``"1"`` is one pixel in some frames, ``"2"`` is in no frame."""

    def __init__(self, visible, size=(4, 6)):
        self.visible, self.size, self.asked = visible, size, 0

    def mask(self, obj, t):
        self.asked += 1
        mask = np.zeros(self.size, np.uint8)
        mask[1, 2] = obj == "1" and t in self.visible
        return mask

    def where(self, obj, t):
        return f"object {obj}, frame {t}"


ONE = Expression("0", "the pixel", ("1",))


def clip_of(length, truth, expressions=(ONE,), name="clip"):
    frames = [np.full((4, 6, 3), t, np.uint8) for t in range(length)]
    return Clip(name, frames, tuple(f"{t:05d}" for t in range(length)), tuple(expressions), truth)


def key_of(sample):
    assert (sample.key_frame == sample.key_frame[0, 0, 0]).all()
    return int(sample.key_frame[0, 0, 0])


@pytest.mark.parametrize("references", [0, 2, 4])
def test_the_key_frame_shows_the_target_and_references_are_near(references):
    visible = {3, 4, 11}
    dataset = ReferringVideos("v", [clip_of(20, Drawn(visible))], sampling=VideoSampling(references))
    keys = Counter()
    for seed in range(60):
        sample = dataset.draw(0, np.random.default_rng(seed))
        key = key_of(sample)
        keys[key] += 1
        assert sample.masks.shape == (1, 4, 6) and sample.masks.sum() == 1
        others = [int(frame[0, 0, 0]) for frame in sample.reference_frames]
        assert len(others) == len(set(others) - {key}) == references
        assert others in (sorted(others), sorted(others, reverse=True))
        assert sample.meta["frame"] == f"{key:05d}"
        assert sample.name == "v/clip/0" == dataset.image_key(0)
    assert set(keys) == visible


def test_a_video_of_few_frames_gives_all_of_them():
    for length in range(1, 6):
        sample = ReferringVideos("v", [clip_of(length, Drawn(range(length)))])[0]
        others = [int(frame[0, 0, 0]) for frame in sample.reference_frames]
        assert sorted([key_of(sample), *others]) == list(range(length))


def test_a_frame_that_is_never_drawn_is_looked_for():
    # of five frames the middle one is the key; the object is in the last one only
    truth = Drawn({4})
    sample = ReferringVideos("v", [clip_of(5, truth)]).draw(0, np.random.default_rng(0))
    assert key_of(sample) == 4 and len(sample.reference_frames) == 4
    assert truth.asked > TRIALS


def test_a_target_visible_in_no_frame_is_an_error():
    dataset = ReferringVideos("v", [clip_of(5, Drawn({}), name="some/clip")])
    with pytest.raises(DataError, match="v/some/clip/0: 'the pixel' is visible in no frame"):
        dataset[0]


def test_a_draw_is_a_function_of_the_generator_alone():
    dataset = ReferringVideos("v", [clip_of(30, Drawn(range(30)))])
    again = pickle.loads(pickle.dumps(dataset))
    for seed in range(5):
        one, other = (d.draw(0, np.random.default_rng(seed)) for d in (dataset, again))
        assert one.meta == other.meta
        np.testing.assert_array_equal(np.stack(one.reference_frames), np.stack(other.reference_frames))
    assert dataset[0].meta == dataset[0].meta
    assert len({dataset.draw(0, np.random.default_rng(s)).meta["frame"] for s in range(20)}) > 5


def test_several_objects_are_one_mask_of_a_sample_and_several_of_a_video():
    both = Expression("7", "both", ("1", "2"))
    clip = clip_of(6, Drawn(range(6)), [both])
    assert ReferringVideos("v", [clip])[0].masks.shape == (1, 4, 6)
    masks = clip.masks(both, 0)
    assert masks.shape == (2, 4, 6) and masks[0].sum() == 1 and not masks[1].any()
    assert clip.mask(both, 0).sum() == 1


def test_masks_of_another_size_are_an_error_that_names_both():
    dataset = ReferringVideos("v", [clip_of(6, Drawn(range(6), size=(5, 7)))])
    with pytest.raises(DataError, match=r"object 1, frame \d: a mask of 5 x 7 for frames of 4 x 6"):
        dataset[0]


@pytest.mark.parametrize("index", [-1, 1])
def test_an_index_outside_is_refused(index):
    dataset = ReferringVideos("v", [clip_of(6, Drawn(range(6)))])
    with pytest.raises(IndexError, match=f"sample {index} of 1 in v"):
        dataset[index]


def test_joined_keeps_different_objects_apart():
    said = [Expression("0", "a", ("1",)), Expression("1", "b", ("1", "2")), Expression("2", "c", ("1",))]
    (clip,) = joined([clip_of(2, None, said)])
    assert [(e.id, e.text, e.objects) for e in clip.expressions] == [
        ("0", "a. c", ("1",)),
        ("1", "b", ("1", "2")),
    ]


def test_patterns_leave_out_videos_and_expressions():
    said = [Expression("0", "a"), Expression("1", "b")]
    clips = [clip_of(1, None, said, name) for name in ("TAO/a/b", "UVO/TAO/c", "d")]
    left = [(clip.name, [e.id for e in clip.expressions]) for clip in without(clips, ["TAO/*", "d/1"])]
    assert left == [("UVO/TAO/c", ["0", "1"]), ("d", ["0"])]
    dataset = ReferringVideos("v", clips, sampling=VideoSampling(exclude=["d/*"]), published={"videos": 3})
    assert dataset.counts() == {"videos": 2, "expressions": 4, "skipped: excluded": 2}
    assert dataset.published == {}


def test_a_deep_check_reads_every_frame_then_every_sample():
    dataset = ReferringVideos("v", [clip_of(3, Drawn({1})), clip_of(2, Drawn({}), name="b")])
    places, reads = zip(*dataset.readers(), strict=True)
    assert places == (
        "v/clip, frame 00000", "v/clip, frame 00001", "v/clip, frame 00002", "v/b, frame 00000",
        "v/b, frame 00001", "v, sample 0", "v, sample 1",
    )  # fmt: skip
    for read in reads[:6]:
        read()
    with pytest.raises(DataError, match="v/b/0: 'the pixel' is visible in no frame"):
        reads[6]()
    for _, read in ReferringVideos("v", [clip_of(3, Drawn({1}, size=(5, 7)))]).readers():
        with pytest.raises(DataError, match="a mask of 5 x 7"):
            read()


def test_frame_files_are_read_when_asked_for(tmp_path):
    from instructseg.media import save_image

    frames = FrameFiles.named(tmp_path, ["a", "b", "c"], ".png")
    assert len(frames) == 3 and frames.names == ("a", "b", "c")
    save_image(tmp_path / "b.png", np.full((2, 3, 3), 7, np.uint8))
    assert (frames[1] == 7).all() and (frames[1:2][0] == 7).all()
    with pytest.raises(FileNotFoundError, match=str(Path(tmp_path / "c.png"))):
        frames[-1]
    (tmp_path / "a.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"a\.png"):
        frames[0]
    assert [problem.where for problem in frames.inspect()] == [str(tmp_path / "c.png")]
