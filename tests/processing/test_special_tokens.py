import pytest
from transformers import PreTrainedTokenizerFast

from instructseg.model.language.phi import CHAT
from instructseg.processing.special_tokens import SEG_TOKEN, ensure_special_tokens, token_id
from recipes.nano.language.word_tokenizer import build_tokenizer


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
