"""Placeholders of a prompt, and special tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IMAGE = "<image>"
"""The key frame's SigLIP tokens."""
TEMPORAL = "<temporal>"
"""The perceiver's tokens of the reference frames."""
REFER = "<refer>"
"""The instruction's tokens and a closing :data:`SEG_TOKEN`."""
MASK = "<seg>"
"""The object queries."""
EXPLANATION = "<gt>"
"""The explanation's tokens, if any, and a closing :data:`SEG_TOKEN`."""

WRITTEN = "{}"
"""The written instruction, as part of the surrounding text."""

SEG_TOKEN = "[SEG]"


def ensure_special_tokens(tokenizer: PreTrainedTokenizerBase, end: str) -> int:
    """Adds ``[SEG]`` to the tokenizer, in place, unless it is there.

    Args:
        end: the token that ends a reply in the language model's conversations.

    Returns:
        how many tokens were added; the model's embedding table must have a row for each.

    Raises:
        ValueError: the tokenizer has no such end token, so it belongs to another language model.
    """
    if end not in tokenizer.get_vocab():
        raise ValueError(
            f"the tokenizer has no token {end!r}, which ends a reply: give the tokenizer of that language model"
        )
    if SEG_TOKEN in tokenizer.get_vocab():
        return 0
    from transformers import AddedToken

    # not normalised: a tokenizer that lower-cases would look for another text
    return tokenizer.add_tokens(AddedToken(SEG_TOKEN, normalized=False))


def token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    """The id of a token of the vocabulary; raises ``ValueError`` where the vocabulary lacks it."""
    number = tokenizer.convert_tokens_to_ids(token)
    if not isinstance(number, int) or tokenizer.convert_ids_to_tokens(number) != token:
        raise ValueError(f"the tokenizer has no token {token!r}: call ensure_special_tokens first")
    return number
