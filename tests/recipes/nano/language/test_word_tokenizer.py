import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.nano.language.word_tokenizer import build_tokenizer
from tests.processing.conftest import CORPUS

TOKENIZER = build_tokenizer(CORPUS, 400)


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=60))
def test_every_text_has_tokens_that_give_it_back(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    assert bool(ids) == bool(text)
    assert TOKENIZER.decode(ids) == TOKENIZER.backend_tokenizer.normalizer.normalize_str(text)


def test_case_does_not_matter_and_special_tokens_stay_whole() -> None:
    assert TOKENIZER.encode("The DOG") == TOKENIZER.encode("the dog")
    assert TOKENIZER.convert_ids_to_tokens(TOKENIZER.encode("[SEG]<|endoftext|>")) == ["[SEG]", "<|endoftext|>"]
    assert TOKENIZER.eos_token == TOKENIZER.pad_token == TOKENIZER.bos_token == "<|endoftext|>"


def test_it_learns_words_and_learns_them_again() -> None:
    assert len(TOKENIZER.encode(" segmentation")) == 1
    again = build_tokenizer(iter(CORPUS), 400)
    assert again.backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()
    assert len(again) <= 400


def test_too_small_a_vocabulary_is_refused() -> None:
    assert len(build_tokenizer([], 258)) == 258
    with pytest.raises(ValueError, match="vocab_size 257 is too small: 258"):
        build_tokenizer([], 257)


def test_synonyms_are_read_as_the_word_that_is_known() -> None:
    synonyms = ((r"\bfurthest\b", "farthest"), (r"\bplus\b(?! sign)", "cross"))
    tokenizer = build_tokenizer(["the farthest cross", "a plus sign"] * 5, 400, synonyms)
    assert tokenizer.tokenize("The FURTHEST plus") == tokenizer.tokenize("the farthest cross")
    assert tokenizer.tokenize("a plus sign") != tokenizer.tokenize("a cross sign")
