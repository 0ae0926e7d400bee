"""LLaVA-1.5 mix and LLaVA-Instruct-150k: conversations about images.

::

    <root>/llava_v1_5_mix665k.json                           or llava_instruct_150k.json
           coco/train2017/000000033471.jpg
           gqa/images/  ocr_vqa/images/  textvqa/train_images/  vg/VG_100K/  vg/VG_100K_2/

An entry; one without ``image`` is text alone::

    {"id": "000000033471", "image": "coco/train2017/000000033471.jpg",
     "conversations": [{"from": "human", "value": "<image>\\nWhat is this?"},
                       {"from": "gpt", "value": "A bus."}, ...]}

There is one split. In the Instruct file ``image`` is the bare name of an image of COCO train2017.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from instructseg.data.data_files import missing_files, read_image, read_json
from instructseg.data.dataset import Dataset, Parts, locate
from instructseg.data.records import Problem, Record, fault, file_kind, file_name, shown, text
from instructseg.structures import Sample, Task

FILES = ("llava_v1_5_mix665k.json", "llava_v1_5_mix665k_onlyMM_filtered.json", "llava_instruct_150k.json")
PUBLISHED = {FILES[0]: {"entries": 665298}, FILES[2]: {"entries": 157712}}
_IMAGE = "<image>"


@dataclass(frozen=True, slots=True)
class Conversation:
    """Questions and replies in turn about the image ``image``, a path below the root."""

    id: str
    image: str
    rounds: tuple[tuple[str, str], ...]


class Llava(Dataset):
    """Each round of a conversation is a sample; rounds of one conversation share its image.

    ``meta["history"]`` holds the rounds before, pairs of question and reply.

    Args:
        root: holds the images and, unless given, ``file``.
        file: the annotations: a name in ``root``, or a path; by default the first of :data:`FILES` there.
        coco: the folder for images with ``coco`` in their path, and for bare names; by default
            ``root`` is searched. The released code joins it with the whole ``coco/train2017/...``: images
            of ``.../coco/coco/train2017`` are found as well.

    Raises:
        FileNotFoundError, DataError: the annotations are missing or damaged.
    """

    def __init__(
        self, root: str | Path, file: str | Path | None = None, coco: str | Path | None = None
    ) -> None:
        self.root = Path(root)
        self.file = self.root / (_present(self.root)[0] if file is None else file)
        self._coco = self.root if coco is None else Path(coco)
        self.name = f"llava/{self.file.stem}"
        self.published = PUBLISHED.get(self.file.name, {})
        self._entries = 0
        self.conversations = self._read()
        self._ends = np.cumsum([0, *(len(found.rounds) for found in self.conversations)], dtype=np.int64)
        self._folders: dict[str, Path] = {}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        found, turn = self._locate(index)
        question, reply = found.rounds[turn]
        return Sample(
            key_frame=read_image(self.path(found.image)),
            instruction=question,
            task=Task.VQA,
            answer=reply,
            name=f"{self.name}/{found.id}/{turn}",
            meta={"id": found.id, "file_name": found.image, "history": found.rounds[:turn]},
        )

    def path(self, image: str) -> Path:
        """The path of the image ``image``."""
        folder, _, name = image.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = self._find(folder)
        return self._folders[folder] / name

    def image_key(self, index: int) -> str:
        """The path of the image."""
        return str(self.path(self._locate(index)[0].image))

    def counts(self) -> dict[str, int]:
        """Entries, conversations with an image, rounds, images, and text-only entries."""
        return {
            "entries": self._entries,
            "conversations": len(self.conversations),
            "rounds": len(self),
            "images": len({found.image for found in self.conversations}),
            "skipped: text only": self._entries - len(self.conversations),
        }

    def inspect(self) -> Iterator[Problem]:
        """Missing images."""
        return missing_files(self.path(image) for image in dict.fromkeys(c.image for c in self.conversations))

    def _find(self, folder: str) -> Path:
        if not folder:  # LLaVA-Instruct
            places = [self._coco / "train2017", self._coco / "coco/train2017"]
        elif "coco" in folder:
            inside = folder.partition("coco/")[2] or folder
            places = [self._coco / folder, self._coco / inside, self._coco / "coco" / folder]
        else:
            places = [self.root / folder]
        return next((place for place in places if place.is_dir()), places[0])

    def _read(self) -> list[Conversation]:
        def compact(value: dict[str, Any]) -> Any:
            if "conversations" not in value:
                return _Turn(value.get("from"), value.get("value")) if "from" in value else value
            self._entries += 1
            entry = Record(value, f"{self.file}, entry {self._entries - 1}, id {shown(value.get('id'))}")
            return _conversation(entry) if value.get("image") else None

        with file_kind(self.file, "not a list of conversations"):
            found = read_json(self.file, list, compact)
            for number, entry in enumerate(found):
                if not isinstance(entry, Conversation | None):
                    raise fault(f"{self.file}, entry {number}", f"no conversation, but {shown(entry)}")
        return [entry for entry in found if entry is not None]

    def _locate(self, index: int) -> tuple[Conversation, int]:
        self.check_index(index)
        number, turn = locate(self._ends, index)
        return self.conversations[number], turn


class _Turn(NamedTuple):
    speaker: Any
    words: Any


def _conversation(entry: Record) -> Conversation:
    """From an entry with compact turns; turns before the first question are dropped."""
    turns = entry.list("conversations")
    for number, turn in enumerate(turns):
        if not isinstance(turn, _Turn) or not isinstance(turn.speaker, str):
            raise fault(entry.where, f"turn {number} has no 'from' and 'value'")
        text(turn.words, entry.where, f"value of turn {number}", blank=True)
    first = next((number for number, turn in enumerate(turns) if turn.speaker == "human"), len(turns))
    turns = turns[first:]
    rounds = tuple(
        (question.words.replace(_IMAGE, "").strip(), reply.words.strip())
        for question, reply in zip(turns[::2], turns[1::2], strict=False)
    )
    image = file_name(entry.get("image"), entry.where, "image")
    return Conversation(str(entry.id("id")), image, rounds)


def parts(root: Path, options: Mapping[str, Any]) -> Parts:
    """Every file of :data:`FILES` in ``root``; the first is required if no other exists."""
    return {f"llava/{Path(name).stem}": partial(Llava, root, name) for name in _present(root)}


def _present(root: Path) -> list[str]:
    return [name for name in FILES if (root / name).is_file()] or [FILES[0]]
