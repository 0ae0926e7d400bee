"""The bundled tokenizer is learned from what is said, and knows every word of it."""

from __future__ import annotations

import pytest

from instructseg.hub import DRAWN_MODEL
from instructseg.processing.conversation import PromptStyle, conversation_text
from instructseg.processing.storage import load_tokenizer
from instructseg.structures import Task
from recipes.nano.language.expressions import CLIP_KINDS, IMAGE_KINDS
from recipes.nano.language.synonyms import SYNONYMS
from recipes.nano.language.unknown import THINGS, UNSEEN_THINGS
from recipes.nano.language.word_tokenizer import build_tokenizer, reading
from recipes.nano.lessons.corpus import VOCABULARY, spoken_corpus
from recipes.nano.scenes.scenes import SceneConfig
from recipes.nano.synthetic import SyntheticDataset

UNKNOWN = (*THINGS, *UNSEEN_THINGS)


@pytest.mark.slow
def test_the_bundled_tokenizer_can_be_learned_again() -> None:
    """But for what phrases change that came later: the numbers of tokens, and pieces of words."""
    again, bundled = build_tokenizer(spoken_corpus(), VOCABULARY, SYNONYMS), load_tokenizer(DRAWN_MODEL)
    words = sorted({f" {word}" for line in spoken_corpus() for word in line.split()})
    other = [word for word in words if again.tokenize(word) != bundled.tokenize(word)]
    assert len(words) > 1000 and not other
    text = "the second largest orange diamond from the left, unheard-of words too"
    assert again.tokenize(text) == bundled.tokenize(text)


def test_the_bundled_tokenizer_reads_synonyms_as_the_words_it_knows() -> None:
    bundled = load_tokenizer(DRAWN_MODEL)
    built = build_tokenizer(["the red circle"], 300, SYNONYMS)
    assert (
        bundled.backend_tokenizer.normalizer.__getstate__() == built.backend_tokenizer.normalizer.__getstate__()
    )
    for said, known in (
        ("the shape Furthest to the right", "the shape farthest to the right"),
        ("how many discs are there?", "how many circles are there?"),
        ("the plus beside a plus sign", "the cross beside a plus sign"),
        ("the tiniest navy blue symbol", "the smallest blue shape"),
        ("the surplus, a discord, marigold", "the surplus, a discord, marigold"),
    ):
        assert bundled.tokenize(said) == bundled.tokenize(known)
    for _, word in SYNONYMS:
        assert all(len(bundled.tokenize(f" {part}")) == 1 for part in word.split())


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("Both stars", "the stars"), ("all of the red circles", "the red circles"), ("every ring", "the ring"),
        ("the two shapes on the left", "the shapes on the left"), ("show three hearts", "show the hearts"),
        ("please count all rings", None), ("the largest circle of all", None), ("are there two stars?", None),
        ("the star right of all the others", None), ("one of the two stars", None), ("has three corners", None),
        ("all objects but one are alike: which one is different?", None),
    ],
)  # fmt: skip
def test_words_for_several_are_read_as_the_article(said: str, read: str | None) -> None:
    assert reading(SYNONYMS).normalize_str(said) == (read or said)


@pytest.mark.parametrize(("task", "kinds"), [(Task.RES, IMAGE_KINDS), (Task.RVOS, CLIP_KINDS)])
@pytest.mark.parametrize("wording", ["seen", "unseen"])
def test_no_phrase_that_is_taught_is_read_as_another(task: Task, kinds: tuple[str, ...], wording: str) -> None:
    blank = SceneConfig(backgrounds={"white": 1}, height=(64, 64), width=(64, 64))
    taught = tuple(kind for kind in kinds if kind not in ("several", "none", "unknown"))
    scenes = SyntheticDataset(60, 78, blank, (task,), 8, "test", kinds=taught, wording=wording)
    texts = [said.text for index in range(60) for said in scenes.scene(index).expressions]
    texts += [conversation_text(one, style=PromptStyle(system="")).lower() for one in Task]
    assert [reading(SYNONYMS).normalize_str(text) for text in texts] == texts


@pytest.mark.parametrize(("task", "kinds"), [(Task.RES, IMAGE_KINDS), (Task.RVOS, CLIP_KINDS)])
@pytest.mark.parametrize("wording", ["seen", "unseen"])
def test_every_word_is_one_token(task: Task, kinds: tuple[str, ...], wording: str) -> None:
    tokenizer = load_tokenizer(DRAWN_MODEL)
    blank = SceneConfig(backgrounds={"white": 1}, height=(64, 64), width=(64, 64))
    known = tuple(kind for kind in kinds if kind != "unknown")
    scenes = SyntheticDataset(25, 77, blank, (task,), 6, "test", kinds=known, wording=wording)
    said = {one.text for index in range(25) for one in scenes.scene(index).expressions}
    words = {word.strip("?,.:'") for text in said for word in text.split()}
    words -= {word for named in UNKNOWN for word in named.split()}
    # a word that only opens sentences has no token with a blank in front
    split = [w for w in words if min(len(tokenizer.tokenize(w)), len(tokenizer.tokenize(f" {w}"))) > 1]
    assert len(words) > 60 and len(split) <= 0.02 * len(words), split
