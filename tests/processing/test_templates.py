import re
from typing import get_args

import pytest
from transformers import PreTrainedTokenizerFast

from instructseg.model.language.phi import CHAT
from instructseg.processing.templates import (
    PARAPHRASES,
    SEG_TOKEN,
    Wording,
    ensure_special_tokens,
    format_instruction,
    template,
    token_id,
)
from instructseg.structures import Task
from recipes.nano.language.word_tokenizer import build_tokenizer


@pytest.mark.parametrize("task", [Task.RES, Task.RVOS])
def test_referring_sentences_are_joined_with_full_stops(task: Task) -> None:
    sentences = ["man in red", "guy left"]
    official = "".join(f" {sentence}." for sentence in sentences).strip()
    assert format_instruction(task, sentences) == official == "man in red. guy left."
    assert format_instruction(task, " man in red\n") == "man in red."
    assert format_instruction(task, "man in red. guy left") == official  # one text may hold them all


def test_reasoning_texts_stay_bare() -> None:
    assert format_instruction(Task.REASON_SEG, " Which dog(s) bark? ") == "Which dog(s) bark?"
    assert format_instruction(Task.REASON_VOS, " Which dog(s) bark? ") == "Which dog bark?"
    assert format_instruction(Task.VQA, "<image>\nWhat is it?") == "What is it?"


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("nothing", ["", " \n\t", [], ["", " "]])
def test_an_empty_instruction_is_refused(task: Task, nothing: str | list[str]) -> None:
    with pytest.raises(ValueError, match=f"instruction of task '{task.value}' is empty"):
        format_instruction(task, nothing)


@pytest.mark.parametrize(("task", "text"), [(Task.VQA, "<image>"), (Task.REASON_VOS, "(s)")])
def test_an_instruction_that_formatting_empties_is_refused(task: Task, text: str) -> None:
    with pytest.raises(ValueError, match="is empty"):
        format_instruction(task, text)


@pytest.mark.parametrize("task", [task for task in Task if task is not Task.REASON_SEG])
def test_only_reason_seg_explains(task: Task) -> None:
    with pytest.raises(ValueError, match="has no explanation"):
        template(task, explain=True)


@pytest.mark.parametrize("task", Task)
def test_other_words_keep_the_places_and_none_is_in_two_banks(task: Task) -> None:
    released = template(task)
    said = [f"the thing number {i}" for i in range(200)]
    varied = {template(task, wording="varied", instruction=text) for text in said}
    held_out = {template(task, wording="held_out", instruction=text) for text in said}
    words, kept = PARAPHRASES[task]
    assert {one.human for one in varied} == {released.human, *words}
    assert {one.human for one in held_out} == set(kept) and not varied & held_out
    places = re.compile(r"<\w+>|\{\}")
    for one in varied | held_out:
        assert one.reply == released.reply
        assert places.findall(one.human) == places.findall(released.human)
    share = sum(template(task, wording="varied", instruction=text) == released for text in said) / len(said)
    assert 0.35 < share < 0.65
    assert template(task, wording="varied", instruction="x") == template(
        task, wording="varied", instruction="x"
    )


def test_an_explanation_is_asked_for_in_the_released_words() -> None:
    asked = {template(Task.REASON_SEG, True, wording, "why?") for wording in get_args(Wording)}
    assert len(asked) == 1


@pytest.mark.parametrize("task", Task)
def test_an_instruction_that_is_not_unicode_is_named(task: Task) -> None:
    with pytest.raises(ValueError, match=r"the instruction 'caf\\udce9.*is not Unicode"):
        format_instruction(task, "caf\udce9")


def without_seg() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer that ends texts as Phi's do, before ``[SEG]`` was added."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bare.train_from_iterator([], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="<|endoftext|>")


def test_seg_is_added_once_and_stays_whole() -> None:
    tokenizer = without_seg()
    size = len(tokenizer)
    with pytest.raises(ValueError, match="no token '\\[SEG\\]'"):
        token_id(tokenizer, SEG_TOKEN)
    assert ensure_special_tokens(tokenizer, CHAT.end) == 1
    assert ensure_special_tokens(tokenizer, CHAT.end) == 0
    assert token_id(tokenizer, SEG_TOKEN) == size
    assert tokenizer.encode("is [SEG]", add_special_tokens=False)[-1] == size


def test_another_end_of_text_is_refused() -> None:
    tokenizer = build_tokenizer(["a"], 300)
    with pytest.raises(ValueError, match="no token '</s>', which ends a reply"):
        ensure_special_tokens(tokenizer, "</s>")
