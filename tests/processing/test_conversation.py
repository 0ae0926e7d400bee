import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from instructseg.processing.conversation import (
    PromptStyle,
    Sequences,
    conversation_text,
    pad_sequences,
    render,
    render_prompt,
)
from instructseg.processing.templates import format_instruction, token_id
from instructseg.structures import IGNORE_LABEL, Role, Task
from recipes.nano.language.word_tokenizer import build_tokenizer
from tests.official_rows import expand_official
from tests.processing.conftest import CORPUS, GOLDEN

LENGTHS = {Role.IMAGE: 5, Role.TEMPORAL: 6, Role.MASK: 3}
TOKENIZER = build_tokenizer(CORPUS, 400)
PROMPTS = json.loads((GOLDEN / "prompts.json").read_text(encoding="utf-8"))["prompts"]
# name in the golden prompts: task, whether it explains
GOLDEN_TASKS = {
    "referring_coco": (Task.RES, False),
    "reason_seg": (Task.REASON_SEG, False),
    "reason_seg_explain": (Task.REASON_SEG, True),
    "rvos": (Task.RVOS, False),
    "revos": (Task.REASON_VOS, False),
}
TEXTS = st.text(min_size=1, max_size=40).filter(str.strip)


def ids_of(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


def decode(ids: list[int]) -> str:
    return str(TOKENIZER.decode(ids))


def text_of(row: Sequences, role: Role) -> str:
    return decode([i for i, r in zip(row.input_ids, row.roles, strict=True) if r == role])


def learned(row: Sequences) -> str:
    return decode([label for label in row.labels if label != IGNORE_LABEL])


def official_ids(prompt: str, instruction: str, answer: str) -> list[int]:
    """The official order of work: split the finished prompt, tokenise the chunks, fill in."""
    seg = token_id(TOKENIZER, "[SEG]")
    runs = {"<image>": LENGTHS[Role.IMAGE], "<temporal>": LENGTHS[Role.TEMPORAL], "<seg>": LENGTHS[Role.MASK]}
    ids: list[int] = []
    for chunk in re.split("(<image>|<seg>|<refer>|<gt>|<temporal>)", prompt):
        if chunk in runs:
            ids += [0] * runs[chunk]
        elif chunk == "<refer>":
            ids += [*ids_of(instruction), seg]
        elif chunk == "<gt>":
            ids += [*ids_of(answer), seg]
        elif chunk:
            ids += ids_of(chunk)
    return ids


@pytest.mark.parametrize("name", GOLDEN_TASKS)
def test_prompts_are_the_official_ones(name: str) -> None:
    assert conversation_text(*GOLDEN_TASKS[name]) == PROMPTS[name]


@pytest.mark.parametrize("name", GOLDEN_TASKS)
def test_rows_are_the_official_chunks(name: str) -> None:
    task, explain = GOLDEN_TASKS[name]
    answer = "Because it barks." if explain else ""
    row = render(TOKENIZER, task, "the red dog", LENGTHS, explain=explain, answer=answer)
    instruction = format_instruction(task, "the red dog")
    assert row.input_ids == official_ids(PROMPTS[name], instruction, answer)


def test_a_question_shares_its_chunk_with_the_text_around_it() -> None:
    row = render(TOKENIZER, Task.VQA, "What is it?", LENGTHS, answer="A dog.")
    prompt = conversation_text(Task.VQA).replace("{}", "What is it?", 1).replace("{}", "A dog.", 1)
    assert row.input_ids == official_ids(prompt, "", "")
    assert not {Role.REFER, Role.MASK, Role.TEMPORAL} & set(row.roles)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(list(Task)), TEXTS, TEXTS, st.booleans())
@example(Task.VQA, "<seg> <refer> {} <gt>", "<image>{}", True)
@example(Task.RES, "<image><temporal>", "👩‍👩‍👧 ﷽", True)
@example(Task.REASON_SEG, "[SEG] \u202e", "long " * 300, True)
def test_every_row_is_consistent(task: Task, instruction: str, answer: str, learn: bool) -> None:
    try:
        asked = format_instruction(task, instruction)
    except ValueError:
        return
    explain = task is Task.REASON_SEG
    row = render(TOKENIZER, task, instruction, LENGTHS, explain=explain, answer=answer, learn_text=learn)
    roles = np.array(row.roles)
    assert len(row.input_ids) == len(row.roles) == len(row.labels)
    assert (roles == Role.IMAGE).sum() == LENGTHS[Role.IMAGE]
    assert (roles == Role.TEMPORAL).sum() == LENGTHS[Role.TEMPORAL] * task.has_mask
    assert (roles == Role.MASK).sum() == LENGTHS[Role.MASK] * task.has_mask
    assert (roles == Role.REFER).sum() == (len(ids_of(asked)) + 1) * task.has_mask
    assert (roles == Role.PAD).sum() == 0
    places = np.isin(roles, [Role.IMAGE, Role.TEMPORAL, Role.MASK])
    assert not np.array(row.input_ids)[places].any()
    labels = np.array(row.labels)
    wanted = labels != IGNORE_LABEL
    assert wanted.any() == learn
    assert (labels[wanted] == np.array(row.input_ids)[wanted]).all()
    assert (roles[wanted] == Role.TEXT).all()


def test_labels_begin_after_the_colon_and_end_with_the_end_of_text() -> None:
    explained = render(
        TOKENIZER, Task.REASON_SEG, "why", LENGTHS, explain=True, answer=" it barks ", learn_text=True
    )
    assert learned(explained) == " \nsure, the segmentation result is it barks[SEG]<|endoftext|>"
    plain = render(TOKENIZER, Task.REASON_SEG, "why", LENGTHS, answer="unread", learn_text=True)
    assert learned(plain) == " \nsure, the segmentation result is [SEG]<|endoftext|>"
    reply = render(TOKENIZER, Task.VQA, "what?", LENGTHS, answer="a dog", learn_text=True)
    assert learned(reply) == " a dog<|endoftext|>"


@pytest.mark.parametrize(("task", "explain"), [(Task.VQA, False), (Task.REASON_SEG, True)])
def test_a_prompt_is_a_prefix_of_the_training_sequence(task: Task, explain: bool) -> None:
    prompt = render_prompt(TOKENIZER, task, "what?", LENGTHS, explain=explain)
    full = render(TOKENIZER, task, "what?", LENGTHS, explain=explain, answer="a dog", learn_text=True)
    size = len(prompt)
    assert full.input_ids[:size] == prompt.input_ids
    assert full.roles[:size] == prompt.roles
    rest = decode(full.input_ids[size:])
    assert rest.startswith("a dog[SEG]" if explain else " a dog<|endoftext|>")


def test_an_empty_system_leaves_no_blank() -> None:
    style = PromptStyle(system="")
    assert conversation_text(Task.VQA, style=style) == "USER: <image>\n{} ASSISTANT: {}<|endoftext|>"
    row = render_prompt(TOKENIZER, Task.VQA, "what?", LENGTHS, style=style)
    assert text_of(row, Role.TEXT) == "user: \nwhat? assistant:"


def test_replies_that_cannot_be_rendered_are_refused() -> None:
    with pytest.raises(ValueError, match="no answer"):
        render(TOKENIZER, Task.VQA, "what?", LENGTHS, answer=" ")
    with pytest.raises(ValueError, match="no text to generate"):
        render_prompt(TOKENIZER, Task.RES, "the dog", LENGTHS)
    with pytest.raises(ValueError, match="is empty"):
        render_prompt(TOKENIZER, Task.VQA, " ", LENGTHS)


@pytest.mark.parametrize(
    ("case", "references"), [("image", 1), ("video", 4), ("train_reason", 1), ("train_rvos", 4), ("mmconv", 0)]
)
def test_official_rows_expand_as_assembled_by_the_official_code(case: str, references: int) -> None:
    with np.load(GOLDEN / "expansion.npz") as file:
        golden: dict[str, Any] = {
            key.removeprefix(f"{case}."): file[key] for key in file if key.startswith(f"{case}.")
        }
    rows = []
    for index, real in enumerate(golden["attention_mask"]):
        refer = golden.get(f"token_refer_id.b{index}", np.array([], np.int64))
        rows.append(
            expand_official(
                golden["input_ids"][index][real].tolist(),
                golden["labels"][index][real].tolist(),
                refer.tolist(),
                {Role.IMAGE: 16, Role.TEMPORAL: 8 * references, Role.MASK: 10},
            )
        )
        taken = np.array(rows[-1].roles) == Role.REFER
        assert (np.array(rows[-1].input_ids)[taken] == refer).all()
    roles = pad_sequences([row.roles for row in rows], Role.PAD).numpy()
    labels = pad_sequences([row.labels for row in rows], IGNORE_LABEL).numpy()
    assert (labels == golden["assembled.labels"]).all()
    assert ((roles != Role.PAD) == golden["assembled.attention_mask"]).all()
    if case != "mmconv":
        assert ((roles == Role.MASK) == golden["assembled.seg_query_mask"]).all()
        assert ((roles == Role.REFER) == golden["assembled.refer_embedding_indices"]).all()


def test_official_rows_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="2 ids but 1 labels"):
        expand_official([1, 2], [1], [], LENGTHS)
    with pytest.raises(ValueError, match="id -202 is no placeholder"):
        expand_official([-202], [-100], [], LENGTHS)
