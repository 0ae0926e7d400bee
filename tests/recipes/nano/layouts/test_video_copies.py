from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest

from instructseg.data.catalog import check
from instructseg.data.datasets import mevis, refytvos, revos
from instructseg.data.mixture import Mixture
from recipes.nano.layouts.clips import HIDDEN, draw_clips
from recipes.nano.layouts.copies import COPIES
from recipes.nano.layouts.video_copies import video_layouts, write_video_layouts

DATASETS = {place: name for name, places in COPIES.items() for place in places}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copies")
    assert write_video_layouts(folder) == [folder / name for name in video_layouts()]
    return folder


@pytest.mark.parametrize("name", video_layouts())
def test_every_copy_passes_its_thorough_check(root, name):
    report = check(DATASETS[name], root / name, deep=True)
    assert not report.problems
    assert all(count.found == count.expected for count in report.counts if not count.what.startswith("skipped"))
    assert {"videos", "expressions"} <= {count.what for count in report.counts}


def test_every_layout_is_that_of_a_data_set():
    assert set(video_layouts()) <= set(DATASETS)


@pytest.mark.parametrize("name", video_layouts())
def test_a_file_that_is_taken_away_is_found(tmp_path, name):
    write, clips = video_layouts()[name]
    write(tmp_path / "copy", clips)
    frame = sorted((tmp_path / "copy").rglob("*.mp4" if name == "ref_sav" else "*.jpg"))[0]
    frame.unlink()
    problems = check(DATASETS[name], tmp_path / "copy").problems
    if name in ("custom-videos", "groundmore"):  # the frames of a folder are those that are there
        assert not problems
    else:
        assert str(frame) in {problem.where for problem in problems}


def test_copies_are_a_function_of_the_seed(root, tmp_path):
    def digest(folder):
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".mp4")
        names = [str(path.relative_to(folder)) for path in files]
        return names, hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()

    write_video_layouts(tmp_path / "same")
    write_video_layouts(tmp_path / "other", seed=1)
    assert digest(tmp_path / "same") == digest(root)
    assert digest(tmp_path / "other")[1] != digest(root)[1]


def test_drawn_videos_hide_their_first_object_and_have_instructions():
    for clip in draw_clips(["a", "b", "c"], 5):
        hidden = [t for t in range(len(clip)) if not clip.scene.area(0, t)]
        assert set(HIDDEN) <= set(hidden) and len(hidden) < len(clip)
        assert [rle is None for rle in clip.track([0])] == [t in hidden for t in range(len(clip))]
        assert all(clip.said[i] for i in clip.objects)
        words = clip.absent().split()[1:]
        assert tuple(words) not in {(obj.colour, obj.shape) for obj in clip.scene.objects}
        union = clip.mask(clip.objects, 3)
        np.testing.assert_array_equal(union, clip.scene.ids[3] > 0)
        assert not clip.mask([], 3).any()


def test_the_video_data_sets_mix(root):
    mixture = Mixture(
        [
            refytvos.RefYtVos.open(root / "ref-youtube-vos", "train", sentences="joined"),
            refytvos.RefYtVos.open_converted(root / "rvos/YouTube", "train", sentences="joined"),
            revos.ReVos.open(root / "ReVOS", "train"),
            mevis.MeVis.open(root / "mevis", "train"),
        ],
        "2||1||3||1",
        batch_size=2,
        switch_bs=4,
        seed=3,
    )
    again = pickle.loads(pickle.dumps(mixture))
    for index in (0, 5, 9, 13, 100):
        samples = mixture.samples(index)
        assert len({sample.task for sample in samples}) == 1
        for sample, same in zip(samples, again.samples(index), strict=True):
            assert sample.masks.any() and len(sample.reference_frames) == 4
            assert sample.meta == same.meta
            np.testing.assert_array_equal(sample.key_frame, same.key_frame)
