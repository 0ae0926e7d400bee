"""Questions about images, answered in text: VQAv2, GQA, POPE, ScienceQA and MMBench."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from instructseg.benchmarks.base import Benchmark, ResultTable, Runner, ScoreRecord
from instructseg.benchmarks.submission_text import write_mmbench, write_vqav2
from instructseg.data.datasets.mmbench import MMBench, read_rows
from instructseg.data.datasets.vqa import POPE_CATEGORIES, Questions, read_questions
from instructseg.evaluation.answers import PopeSums, chosen_option, gqa_answer, pope_f1, vqa_accuracy
from instructseg.evaluation.sums import mean
from instructseg.structures import ModelInputs, Sample, Task
from instructseg.visualization import draw_masks

MAX_NEW_TOKENS = 64
"""Longest answer, in tokens, as released."""
VQAV2_QUESTIONS = "llava_vqav2_mscoco_test2015.jsonl"
"""All questions of test2015, beside those of test-dev: the server requires an entry for each."""
_CIRCLE = 1_000_000  # MMBench: each rotation of its options adds this to a question's index

Score = Callable[[Sample, str], ScoreRecord]
AnswerScores = Callable[[Sequence[ScoreRecord]], dict[str, float]]
Submit = Callable[[Any, Path, Mapping[str, str]], None]


class Answering(Benchmark):
    """Questions answered in text.

    Args:
        score: fields of the record of a sample and its answer; none where the right answer is not public.
        metrics: of such records.
        submit: takes the data set, the output folder and the answers by ``question_id``.
    """

    def __init__(
        self,
        row: str,
        dataset: Questions | MMBench,
        score: Score,
        metrics: AnswerScores,
        submit: Submit | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> None:
        self.row, self.dataset, self.max_new_tokens = row, dataset, max_new_tokens
        self._score, self._metrics, self._submit = score, metrics, submit

    def run(self, runner: Runner, indices: Sequence[int]) -> Iterator[ScoreRecord]:
        """See :meth:`Benchmark.run`."""
        for first in range(0, len(indices), runner.batch_size):
            samples = [self.dataset[index] for index in indices[first : first + runner.batch_size]]
            asked = [sample.instruction for sample in samples]
            texts = answers(runner, samples[0].key_frame, asked, self.max_new_tokens)
            for sample, text in zip(samples, texts, strict=True):
                known = {"question_id": sample.meta["question_id"], "text": text}
                yield {"name": sample.name, **known, **self._score(sample, text)}

    def results(self, records: Sequence[ScoreRecord]) -> ResultTable:
        """See :meth:`Benchmark.results`."""
        return {self.row: self._metrics(records)}

    def submit(self, runner: Runner, records: Mapping[int, ScoreRecord]) -> None:
        """See :meth:`Benchmark.submit`."""
        if self._submit is not None:
            texts = {record["question_id"]: record["text"] for record in records.values()}
            self._submit(self.dataset, runner.folder, texts)

    def show(self, runner: Runner, index: int, record: ScoreRecord) -> np.ndarray:
        """The image with the answer, the ground truth and the question."""
        sample = self.dataset[index]
        right = sample.answer or ", ".join(dict.fromkeys(sample.meta.get("answers", ())))
        # a caption is cut at its end, and a question may be long
        lines = [f"answer: {record['text']}", f"truth: {right}", sample.instruction]
        return draw_masks(sample.key_frame, [np.zeros(sample.key_frame.shape[:2], bool)] * len(lines), lines)


def answers(runner: Runner, frame: np.ndarray, questions: Sequence[str], max_new_tokens: int) -> list[str]:
    """Answers to questions about one image ``uint8[H, W, 3]``, encoded once, without the mask branch.

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
        image_index=torch.zeros(len(questions), dtype=torch.int64),
    )
    with torch.inference_mode():
        written = model.answer(inputs.to(model.device, model.dtype), max_new_tokens, (processor.seg_token_id,))
    return [processor.decode(ids) for ids in written]


def score_vqav2(sample: Sample, text: str) -> ScoreRecord:
    """By the answers of ten annotators, which are not public for test-dev."""
    people = sample.meta.get("answers")
    return {"score": vqa_accuracy(text, people)} if people else {}


def score_gqa(sample: Sample, text: str) -> ScoreRecord:
    """Exact match with the official answer."""
    return {} if sample.answer is None else {"score": float(gqa_answer(text) == sample.answer)}


def score_pope(sample: Sample, text: str) -> ScoreRecord:
    """Keeps category and label for the sums."""
    label = sample.answer == "yes"
    right = PopeSums().add(text, label)
    return {"score": float(right), "category": sample.meta["category"], "label": label}


def score_choice(sample: Sample, text: str) -> ScoreRecord:
    """Multiple choice: exact match of the letter."""
    if sample.answer is None:
        return {}
    options = len(sample.meta.get("choices") or sample.meta["options"])
    return {"score": float(chosen_option(text, options) == "ABCDE".index(sample.answer))}


def mean_accuracy(records: Sequence[ScoreRecord]) -> dict[str, float]:
    """``accuracy``, the mean score."""
    return {"accuracy": mean(record["score"] for record in records)}


def img_accuracy(records: Sequence[ScoreRecord]) -> dict[str, float]:
    """ScienceQA, questions with an image only."""
    return {"img_accuracy": mean(record["score"] for record in records)}


def pope_metrics(records: Sequence[ScoreRecord]) -> dict[str, float]:
    """``f1``, the mean over the categories, and all numbers of each."""
    sums = {category: PopeSums() for category in POPE_CATEGORIES}
    for record in records:
        sums[record["category"]].add(record["text"], record["label"])
    asked = {category: one for category, one in sums.items() if one != PopeSums()}
    each = {f"{name}_{key}": value for name, one in asked.items() for key, value in one.results().items()}
    return {"f1": pope_f1(list(asked.values())), **each}


def circular_accuracy(records: Sequence[ScoreRecord]) -> dict[str, float]:
    """MMBench: ``accuracy`` of questions, correct in every order of the options; ``row_accuracy`` of rows."""
    circles: dict[int, list[float]] = {}
    for record in records:
        circles.setdefault(int(record["question_id"]) % _CIRCLE, []).append(record["score"])
    return {
        "accuracy": mean(min(scores) for scores in circles.values()),
        "row_accuracy": mean(record["score"] for record in records),
    }


def submit_vqav2(dataset: Questions, folder: Path, texts: Mapping[Any, str]) -> None:
    """Writes ``submission.json`` for all questions of test2015, or those asked where no file lists them."""
    if any(question.meta.get("answers") for question in dataset.questions):
        return  # public answers: no server scores them
    listed = dataset.folder.parent / VQAV2_QUESTIONS
    everything = [question.id for question in read_questions(listed)] if listed.is_file() else list(texts)
    write_vqav2(folder / "submission.json", texts, everything)


def submit_mmbench(dataset: MMBench, folder: Path, texts: Mapping[str, str]) -> None:
    """Writes ``submission.xlsx`` from the official table."""
    rows = [
        {name: value for name, value in row.items() if name != "image"} for _, row in read_rows(dataset.file)
    ]
    write_mmbench(folder / "submission.xlsx", rows, texts)


SUBMISSIONS: Mapping[str, Submit] = {"vqav2": submit_vqav2, "mmbench": submit_mmbench}
"""Format -> writer."""
