"""One vocabulary of text, image, location and colour tokens, and the forms that an answer can have.

InstructSeq (arXiv 2311.18835, section 3.1) joins words, the codes of a VQ model and positions in one
vocabulary; Chameleon and Lumina-mGPT, under Explanatory Instructions (arXiv 2412.18525), do the same. At each
step of decoding only tokens that some form allows can follow.

Letters: ``V`` tokens of the vocabulary, ``B`` rows, ``T`` tokens of an answer so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True)
class Vocabulary:
    """Groups of tokens, one behind the other.

    Attributes:
        groups: number of tokens by name of the group, in order, e.g. ``{"text": 50265, "image": 8192}``.
    """

    groups: Mapping[str, int]

    def __post_init__(self) -> None:
        for name, count in self.groups.items():
            if count < 1:
                raise ValueError(f"group '{name}' must have at least 1 token, not {count}")

    @cached_property
    def size(self) -> int:
        """``V``."""
        return sum(self.groups.values())

    def ids(self, group: str) -> range:
        """Ids of a group.

        Raises:
            ValueError: there is no such group.
        """
        if group not in self.groups:
            raise ValueError(f"the vocabulary has no group '{group}', but {', '.join(self.groups)}")
        first = 0
        for name, count in self.groups.items():
            if name == group:
                break
            first += count
        return range(first, first + count)

    def first(self, group: str) -> int:
        """Id of the first token of a group: added to a number in the group, it gives the id."""
        return self.ids(group).start


@dataclass(frozen=True)
class AnswerForm:
    """The form of an answer: a group for each token of it, and what may follow.

    Attributes:
        name: of the form, e.g. ``"box"``.
        groups: names of groups (or ids of single tokens, as those that end the row of an image), in order.
        repeated: group whose tokens may follow; ``None`` for an answer of fixed length.
        most: tokens with those that follow, at most.
    """

    name: str
    groups: tuple[str | int, ...]
    repeated: str | None = None
    most: int = 256

    def __post_init__(self) -> None:
        if not self.groups:
            raise ValueError(f"form '{self.name}' has no token: the first one tells it from others")


class AnswerForms:
    """Which token may follow which, for answers of several forms; each ends with the end token.

    The first token chooses the form, so no two forms begin with the same group.

    Args:
        vocabulary: of the tokens.
        forms: that are allowed.
        end: id of the end token.

    Raises:
        ValueError: two forms begin alike, or there is none.
    """

    def __init__(self, vocabulary: Vocabulary, forms: Sequence[AnswerForm], end: int) -> None:
        self.vocabulary, self.forms, self.end = vocabulary, tuple(forms), end
        firsts = [form.groups[0] for form in forms]
        if not firsts or len(set(firsts)) < len(firsts):
            raise ValueError(f"forms must begin with different groups, not with {firsts}")
        rows = {group: self._row(group) for form in self.forms for group in form.groups}
        self._steps = {form.name: [rows[group] for group in form.groups] for form in self.forms}
        self._ending = self._row(end)

    def _row(self, group: str | int) -> torch.Tensor:
        """``bool[V]``: the tokens of a group, or a single one."""
        ids = self.vocabulary.ids(group) if isinstance(group, str) else range(group, group + 1)
        row = torch.zeros(self.vocabulary.size, dtype=torch.bool)
        row[ids.start : ids.stop] = True
        return row

    def form_of(self, token: int) -> AnswerForm:
        """The form of an answer, by its first token.

        Raises:
            ValueError: no form begins so.
        """
        for form in self.forms:
            if self._steps[form.name][0][token]:
                return form
        raise ValueError(f"no form begins with token {token}")

    def allowed(self, tokens: torch.Tensor) -> torch.Tensor:
        """The tokens that may follow, ``bool[B, V]``, at least one in each row; the end follows the end.

        Args:
            tokens: ``int64[B, T]``, answers so far, of the same length; ``T`` may be 0.
        """
        size, count = tokens.shape
        if count == 0:
            first = torch.stack([steps[0] for steps in self._steps.values()]).any(0)
            return first.expand(size, -1)
        rows, known = [], dict[int, torch.Tensor]()
        ended = (tokens == self.end).any(1).tolist()
        for first_token, over in zip(tokens[:, 0].tolist(), ended, strict=True):
            if not over and first_token not in known:
                known[first_token] = self._following(self.form_of(first_token), count)
            rows.append(self._ending if over else known[first_token])
        return torch.stack(rows)

    def _following(self, form: AnswerForm, count: int) -> torch.Tensor:
        """``bool[V]``: what may follow ``count`` tokens of a form."""
        steps = self._steps[form.name]
        if count < len(steps):
            return steps[count]
        if form.repeated is None or count >= form.most:
            return self._ending
        return self._ending | self._row(form.repeated)

    @property
    def longest(self) -> int:
        """Most tokens of an answer, with its end."""
        return 1 + max(max(len(form.groups), form.most if form.repeated else 0) for form in self.forms)
