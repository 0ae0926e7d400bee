"""What is said to small models: the corpus of their tokenizer, in which every known word becomes one token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from instructseg.processing.conversation import PromptStyle, conversation_text
from instructseg.processing.known_words import words_of
from instructseg.structures import Task
from recipes.nano.language.expressions import Expression
from recipes.nano.language.vocabulary import vocabulary_corpus
from recipes.nano.scenes.scenes import SceneConfig
from recipes.nano.synthetic import SyntheticDataset

VOCABULARY = 1536
"""Most tokens; the corpus has need of fewer."""
_REPEATS, _SCENES, _SEED = 200, 300, 9
_MORE_SCENES = 2000
"""Enough for every word: the rarest ones are of what is known to have a colour or a shape."""
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
        yield from _templates()
    for said in _drawn(_IMAGES, _SCENES):
        yield said.text
        if said.answer:
            yield f" {said.answer}"


def met_words() -> tuple[str, ...]:
    """Words of the instructions that are drawn, and of what is said around them, in alphabetical order."""
    texts = [*_templates(), *(said.text for said in _drawn((*_IMAGES, "several"), _MORE_SCENES))]
    return tuple(sorted({word for text in texts for word in words_of(text.lower())}))


def _templates() -> Iterator[str]:
    """The wording of all tasks."""
    return (conversation_text(task, style=PromptStyle(system="")) for task in Task)


def _drawn(image_kinds: Sequence[str], count: int) -> Iterator[Expression]:
    """Instructions on so many drawn scenes of each medium and wording."""
    blank = SceneConfig(backgrounds={"white": 1}, height=(64, 64), width=(64, 64))
    for task, kinds in ((Task.RES, image_kinds), (Task.RVOS, _CLIPS)):
        for wording in ("seen", "unseen"):
            scenes = SyntheticDataset(count, _SEED, blank, (task,), 8, kinds=kinds, wording=wording)
            for index in range(count):
                # words for what is never drawn are to stay in pieces
                yield from (said for said in scenes.scene(index).expressions if said.form != "unknown")
