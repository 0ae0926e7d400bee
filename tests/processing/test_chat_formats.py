"""Conversations of each kind of language model, against the chat templates of their tokenizers."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from instructseg.model.language import KINDS, ChatFormat
from instructseg.processing import InstructSegProcessor, ProcessorConfig
from instructseg.processing.conversation import (
    PromptStyle,
    conversation_text,
    render,
    render_prompt,
)
from instructseg.processing.templates import IMAGE, SEG_TOKEN
from instructseg.structures import IGNORE_LABEL, Role, Task

LENGTHS = {Role.IMAGE: 4, Role.TEMPORAL: 2, Role.MASK: 3}
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "[CLS]", "[SEP]", SEG_TOKEN]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, and the marks of every kind as one token each."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bare.train_from_iterator([], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    made = PreTrainedTokenizerFast(tokenizer_object=bare)
    made.add_tokens(MARKS, special_tokens=True)
    return made


def test_qwen3_is_its_own_template_without_thinking() -> None:
    """As ``apply_chat_template(.., enable_thinking=False)`` of the published tokenizer renders it."""
    text = conversation_text(Task.VQA, style=PromptStyle(KINDS["qwen3"].chat, "Be brief."))
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\n{IMAGE}\n{{}}<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n{}<|im_end|>"
    )


def test_bert_reads_one_sequence() -> None:
    text = conversation_text(Task.VQA, style=PromptStyle(KINDS["bert"].chat, ""))
    assert text == f"[CLS] {IMAGE}\n{{}} {{}} [SEP]"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", Task)
def test_rows_of_every_kind_and_task_hold_together(
    kind: str, task: Task, tokenizer: PreTrainedTokenizerFast
) -> None:
    chat = KINDS[kind].chat
    style = PromptStyle(chat, "Be brief.")
    row = render(tokenizer, task, "the dog", LENGTHS, style=style, answer="yes", learn_text=True)
    assert row.roles.count(Role.IMAGE) == LENGTHS[Role.IMAGE]
    assert row.roles.count(Role.MASK) == LENGTHS[Role.MASK] * task.has_mask
    learned = [token for token, label in zip(row.input_ids, row.labels, strict=True) if label != IGNORE_LABEL]
    assert tokenizer.convert_ids_to_tokens(learned[-1]) == chat.end
    assert not {"<|im_start|>", "[CLS]"} & set(tokenizer.convert_ids_to_tokens(learned))
    head = tokenizer.decode([t for t, r in zip(row.input_ids, row.roles, strict=True) if r == Role.TEXT])
    assert "Be brief." in head
    if task is Task.VQA:
        prompt = render_prompt(tokenizer, task, "the dog", LENGTHS, style=style)
        assert row.input_ids[: len(prompt)] == prompt.input_ids
        assert set(row.labels[: len(prompt)]) == {IGNORE_LABEL}


def test_a_reply_with_braces_stays_as_it_is() -> None:
    chat = ChatFormat(human="<{}>", system="({})", reply="[{}]", end="!")
    assert chat.head("{}", "a{}") + chat.tail("{}") == "({})<a{}>[{}]!"


def test_the_processor_keeps_its_chat_format(tokenizer: PreTrainedTokenizerFast) -> None:
    config = ProcessorConfig(chat=KINDS["qwen3"].chat)
    assert ProcessorConfig.from_dict(config.to_dict()) == config
    assert InstructSegProcessor(tokenizer, config).config.chat.end == "<|im_end|>"
    with pytest.raises(ValueError, match=r"processor: chat\.end: needs a value"):
        ProcessorConfig.from_dict({**config.to_dict(), "chat": {"human": "{}"}})
