"""A small tokenizer, learned from a handful of texts, for models that are themselves small."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transformers import PreTrainedTokenizerFast

from instructseg.model.language.phi import CHAT
from instructseg.processing.templates import SEG_TOKEN

_BYTES = 256


def build_tokenizer(
    corpus: Iterable[str], vocab_size: int, synonyms: Iterable[tuple[str, str]] = ()
) -> PreTrainedTokenizerFast:
    """Learns a lower-casing byte-level BPE: every text has tokens, and equal arguments give equal tokenizers.

    Args:
        corpus: texts as the model will read them.
        vocab_size: the most tokens it may have, all bytes, Phi's end of text and ``[SEG]`` included.
        synonyms: regular expressions, in lower case, and what is read in place of what they find, in order.

    Raises:
        ValueError: ``vocab_size`` has no room for the bytes.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    special = [CHAT.end, SEG_TOKEN]
    if vocab_size < _BYTES + len(special):
        raise ValueError(
            f"vocab_size {vocab_size} is too small: {_BYTES + len(special)} tokens are always there"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = reading(synonyms)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=CHAT.end, bos_token=CHAT.end, pad_token=CHAT.end
    )


def reading(synonyms: Iterable[tuple[str, str]]) -> Any:
    """The normalizer of a tokenizer: small letters, and synonyms as of :func:`build_tokenizer`."""
    from tokenizers import Regex, normalizers

    lower = normalizers.Lowercase()
    replacements = [normalizers.Replace(Regex(pattern), word) for pattern, word in synonyms]
    return normalizers.Sequence([lower, *replacements]) if replacements else lower
