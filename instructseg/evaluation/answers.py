"""Text answers, read as the official scripts read them: POPE, GQA, VQAv2, ScienceQA and multiple choice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from instructseg.evaluation.sums import mean

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_ARTICLES = {"a", "an", "the"}
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten"
_NUMBERS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS.split())} | {"none": "0"}

_APOSTROPHES = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've
needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've
somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll
that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've
weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've
why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're
you've
"""
# a word that lacks exactly one apostrophe gets it back; the last entry is a slip of the official table
_CONTRACTIONS = {
    word[:place] + word[place + 1 :]: word
    for word in _APOSTROPHES.split()
    for place, letter in enumerate(word)
    if letter == "'"
} | {"somebody'd": "somebodyd"}

_FULL_STOP = re.compile(r"(?!<=\d)\.(?!\d)")
_THOUSANDS = re.compile(r"\d,\d")
_LETTER = re.compile(r"The answer is ([A-Z]).")


def says_yes(text: str) -> bool:
    """POPE: an answer is no when its first sentence has the word ``No``, ``no`` or ``not``, else yes."""
    words = text.split(".")[0].replace(",", "").split(" ")
    return not {"No", "not", "no"} & set(words)


@dataclass
class PopeSums:
    """Confusion matrix of one category of POPE; yes is positive."""

    true_positive: int = 0
    false_positive: int = 0
    true_negative: int = 0
    false_negative: int = 0

    def add(self, text: str, label: bool) -> bool:
        """Counts one answer; ``label`` is true for yes. Returns whether the answer is right."""
        yes = says_yes(text)
        self.true_positive += yes and label
        self.false_positive += yes and not label
        self.true_negative += not yes and not label
        self.false_negative += not yes and label
        return yes == label

    def results(self) -> dict[str, float]:
        """``accuracy``, ``precision``, ``recall``, ``f1``, ``yes_ratio``, 0..1; 0 for nothing over nothing."""
        yes, right = self.true_positive + self.false_positive, self.true_positive + self.true_negative
        total = yes + self.true_negative + self.false_negative
        precision = _ratio(self.true_positive, yes)
        recall = _ratio(self.true_positive, self.true_positive + self.false_negative)
        return {
            "accuracy": _ratio(right, total),
            "precision": precision,
            "recall": recall,
            "f1": _ratio(2 * precision * recall, precision + recall),
            "yes_ratio": _ratio(yes, total),
        }


def pope_f1(categories: Sequence[PopeSums]) -> float:
    """Mean F1 over random, popular and adversarial, as in papers, 0..1."""
    return mean(category.results()["f1"] for category in categories)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def gqa_answer(text: str) -> str:
    """GQA: the normalized answer, for an exact comparison."""
    return text.rstrip(".").lower()


def vqa_answer(text: str) -> str:
    """VQAv2: the submitted answer, without punctuation and articles, numbers as digits."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return _digits_and_articles(_punctuation(text.replace("\n", " ").replace("\t", " ").strip()))


def vqa_accuracy(text: str, answers: Sequence[str]) -> float:
    """VQAv2: agreement with the annotators, 0..1.

    The mean, over leaving out one person each, of a third of the others who gave this answer, 1 at most.

    Args:
        text: the answer; punctuation, articles and numbers are made alike first.
        answers: of the (ten) people; their punctuation is made alike where they do not all say the same.

    Raises:
        ValueError: there are no answers.
    """
    if not answers:
        raise ValueError("no answers of people to compare with")
    given = _digits_and_articles(_punctuation(text.replace("\n", " ").replace("\t", " ").strip()))
    people = [_punctuation(answer) for answer in answers] if len(set(answers)) > 1 else answers
    agree = [answer == given for answer in people]
    return sum(min(1.0, (sum(agree) - own) / 3) for own in agree) / len(agree)


def _punctuation(text: str) -> str:
    """Drops marks that stand next to a space somewhere, and all if there is a ``1,000``; else a space."""
    thousands = _THOUSANDS.search(text) is not None
    cleaned = text
    for mark in _PUNCTUATION:
        alone = f"{mark} " in text or f" {mark}" in text
        cleaned = cleaned.replace(mark, "" if alone or thousands else " ")
    # the official script passes re.UNICODE, which is 32, as the number of replacements
    return _FULL_STOP.sub("", cleaned, count=32)


def _digits_and_articles(text: str) -> str:
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def chosen_option(text: str, options: int) -> int | None:
    """ScienceQA and MMBench: the option that an answer names.

    Args:
        text: ``B``, ``B. ...`` or text with ``The answer is B.`` once.
        options: how many there are, at most 5.

    Returns:
        0 for A, and so on; ``None`` where the answer names no option that there is.
    """
    letters = "ABCDE"
    if len(text) == 1 and text in letters:
        letter = text
    elif len(text) >= 3 and text[0] in letters and text[1:3] == ". ":
        letter = text[0]
    else:
        found = _LETTER.findall(text)
        letter = found[0] if len(found) == 1 else ""
    return letters.index(letter) if letter and letter in letters[:options] else None
