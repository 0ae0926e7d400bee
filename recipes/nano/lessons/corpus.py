"""Corpus of the tokenizer of small models: every known word becomes one token."""

from __future__ import annotations

from collections.abc import Iterator

from instructseg.processing.conversation import PromptStyle, conversation_text
from instructseg.structures import Task
from recipes.nano.language.vocabulary import vocabulary_corpus
from recipes.nano.scenes.scenes import SceneConfig
from recipes.nano.synthetic import SyntheticDataset

VOCABULARY = 1536
"""Most tokens; the corpus has need of fewer."""
_REPEATS, _SCENES, _SEED = 200, 300, 9
_IMAGES = (
    "attribute", "relation", "superlative", "ordinal", "knowledge", "function", "odd", "question", "absent",
)  # fmt: skip
_CLIPS = ("motion", "leading", "leaving", "parked", "speed", "absent")


def spoken_corpus() -> Iterator[str]:
    """The vocabulary, the wording of all tasks, and instructions and replies as they are drawn.

    ``build_tokenizer(spoken_corpus(), VOCABULARY, SYNONYMS)`` is the tokenizer of a model that is trained
    anew; the bundled one was learned before the last phrases came.
    """
    yield from vocabulary_corpus()
    for _ in range(_REPEATS):
        yield from (conversation_text(task, style=PromptStyle(system="")) for task in Task)
    blank = SceneConfig(backgrounds={"white": 1}, height=(64, 64), width=(64, 64))
    for task, kinds in ((Task.RES, _IMAGES), (Task.RVOS, _CLIPS)):
        for wording in ("seen", "unseen"):
            scenes = SyntheticDataset(_SCENES, _SEED, blank, (task,), 8, kinds=kinds, wording=wording)
            for index in range(_SCENES):
                for said in scenes.scene(index).expressions:
                    if said.form == "unknown":
                        continue  # these words are to stay in pieces
                    yield said.text
                    if said.answer:
                        yield f" {said.answer}"
