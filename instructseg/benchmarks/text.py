"""Questions about pictures, answered in words: VQAv2, GQA, POPE, ScienceQA and MMBench."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from instructseg.benchmarks.base import Benchmark, Record, Results, Runner
from instructseg.benchmarks.submission_text import write_mmbench, write_vqav2
from instructseg.data.datasets.mmbench import MMBench, read_rows
from instructseg.data.datasets.vqa import POPE_CATEGORIES, Questions, read_questions
from instructseg.evaluation.sums import mean
from instructseg.evaluation.vqa import ChoiceSums, PopeSums, gqa_answer, pope_f1, vqa_accuracy
from instructseg.structures import ModelInputs, Sample, Task
from instructseg.visualization import draw_masks

MAX_NEW_TOKENS = 64
"""Longest answer, in tokens, as released."""
VQAV2_QUESTIONS = "vqav2/llava_vqav2_mscoco_test2015.jsonl"
"""All questions of test2015, below the root: the server wants an entry for each."""
_CIRCLE = 1_000_000  # MMBench: a question's index is this less with every turn of its options

Score = Callable[[Sample, str], Record]
Metrics = Callable[[Sequence[Record]], dict[str, float]]
HandIn = Callable[[Path, Mapping[str, str]], None]


class Answering(Benchmark):
    """Answers in words.

    Args:
        row: name of the results.
        dataset: of questions.
        score: what is recorded of a sample and its answer; nothing where the right one is not known.
        metrics: of such records.
        hand_in: takes the folder and the answers by ``question_id``.
        max_new_tokens: longest answer.
    """

    def __init__(
        self,
        row: str,
        dataset: Questions | MMBench,
        score: Score,
        metrics: Metrics,
        hand_in: HandIn | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> None:
        self.row, self.dataset, self.max_new_tokens = row, dataset, max_new_tokens
        self._score, self._metrics, self._hand_in = score, metrics, hand_in

    def __len__(self) -> int:
        return len(self.dataset)

    def picture(self, index: int) -> str:
        """See :meth:`Benchmark.picture`."""
        return self.dataset.picture(index)

    def run(self, runner: Runner, indices: Sequence[int]) -> Iterator[Record]:
        """See :meth:`Benchmark.run`."""
        for first in range(0, len(indices), runner.batch_size):
            samples = [self.dataset[index] for index in indices[first : first + runner.batch_size]]
            asked = [sample.instruction for sample in samples]
            texts = answers(runner, samples[0].key_frame, asked, self.max_new_tokens)
            for sample, text in zip(samples, texts, strict=True):
                known = {"question_id": sample.meta["question_id"], "text": text}
                yield {"name": sample.name, **known, **self._score(sample, text)}

    def results(self, records: Sequence[Record]) -> Results:
        """See :meth:`Benchmark.results`."""
        return {self.row: self._metrics(records)}

    def hand_in(self, runner: Runner, records: Mapping[int, Record]) -> None:
        """See :meth:`Benchmark.hand_in`."""
        if self._hand_in is not None:
            self._hand_in(runner.folder, {record["question_id"]: record["text"] for record in records.values()})

    def show(self, runner: Runner, index: int, record: Record) -> np.ndarray:
        """The picture, what was said, what is right, and the question."""
        sample = self.dataset[index]
        right = sample.answer or ", ".join(dict.fromkeys(sample.meta.get("answers", ())))
        # a caption is cut at its end, and a question may be long
        lines = [f"said: {record['text']}", f"right: {right}", sample.instruction]
        return draw_masks(sample.key_frame, [np.zeros(sample.key_frame.shape[:2], bool)] * len(lines), lines)


def answers(runner: Runner, frame: np.ndarray, questions: Sequence[str], max_new_tokens: int) -> list[str]:
    """Replies to questions about ``uint8[H, W, 3]``, which is encoded once, and not for masks.

    Raises:
        ValueError: a question is empty or too long.
    """
    processor, model = runner.processor, runner.model
    input_ids, roles = processor.encode_text(questions, Task.VQA, generate=True)
    inputs = ModelInputs(
        input_ids,
        roles,
        clip_pixels=processor.encode_clip(frame)[None, None],
        num_references=torch.zeros(1, dtype=torch.int64),
        picture=torch.zeros(len(questions), dtype=torch.int64),
    )
    with torch.inference_mode():
        written = model.answer(inputs.to(model.device, model.dtype), max_new_tokens, (processor.seg_token_id,))
    return [processor.decode(ids) for ids in written]


def score_vqav2(sample: Sample, text: str) -> Record:
    """By the ten people's answers, which test-dev does not tell."""
    people = sample.meta.get("answers")
    return {"score": vqa_accuracy(text, people)} if people else {}


def score_gqa(sample: Sample, text: str) -> Record:
    """Right where the answer is the official one."""
    return {} if sample.answer is None else {"score": float(gqa_answer(text) == sample.answer)}


def score_pope(sample: Sample, text: str) -> Record:
    """Keeps what the sums need: category and label."""
    label = sample.answer == "yes"
    right = PopeSums().add(text, label)
    return {"score": float(right), "category": sample.meta["category"], "label": label}


def score_choice(sample: Sample, text: str) -> Record:
    """Multiple choice: right where the answer names the right letter."""
    if sample.answer is None:
        return {}
    options = len(sample.meta.get("choices") or sample.meta["options"])
    right = ChoiceSums().add(text, options, "ABCDE".index(sample.answer))
    return {"score": float(right)}


def mean_accuracy(records: Sequence[Record]) -> dict[str, float]:
    """``accuracy``, the mean score."""
    return {"accuracy": mean(record["score"] for record in records)}


def img_accuracy(records: Sequence[Record]) -> dict[str, float]:
    """ScienceQA, of which only the questions with a picture are asked."""
    return {"img_accuracy": mean(record["score"] for record in records)}


def pope_metrics(records: Sequence[Record]) -> dict[str, float]:
    """``f1``, the mean over the categories, and all numbers of each."""
    sums = {category: PopeSums() for category in POPE_CATEGORIES}
    for record in records:
        sums[record["category"]].add(record["text"], record["label"])
    asked = {category: one for category, one in sums.items() if one != PopeSums()}
    each = {f"{name}_{key}": value for name, one in asked.items() for key, value in one.results().items()}
    return {"f1": pope_f1(list(asked.values())), **each}


def mmbench_metrics(records: Sequence[Record]) -> dict[str, float]:
    """``accuracy``: of questions, right with their options in every order; ``row_accuracy``: of rows."""
    circles: dict[int, list[float]] = {}
    for record in records:
        circles.setdefault(int(record["question_id"]) % _CIRCLE, []).append(record["score"])
    return {
        "accuracy": mean(min(scores) for scores in circles.values()),
        "row_accuracy": mean(record["score"] for record in records),
    }


def hand_in_vqav2(root: Path, folder: Path, texts: Mapping[int, str]) -> None:
    """Writes ``submission.json`` for all questions of test2015, or those asked where no file lists them."""
    listed = root / VQAV2_QUESTIONS
    everything = [question.id for question in read_questions(listed)] if listed.is_file() else list(texts)
    write_vqav2(folder / "submission.json", texts, everything)


def hand_in_mmbench(file: Path, folder: Path, texts: Mapping[str, str]) -> None:
    """Writes ``submission.xlsx`` from the official table."""
    rows = [{name: value for name, value in row.items() if name != "image"} for _, row in read_rows(file)]
    write_mmbench(folder / "submission.xlsx", rows, texts)
