from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from instructseg.processing import InstructSegProcessor, ProcessorConfig
from instructseg.processing.conversation import conversation_text
from instructseg.structures import Task
from recipes.nano.language.word_tokenizer import build_tokenizer

GOLDEN = Path(__file__).parents[1] / "data" / "preprocessing"
CORPUS = [conversation_text(task) for task in Task] + ["the red dog on the left", "What is it? A dog."]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(CORPUS, 400)


@pytest.fixture(scope="session")
def processor(tokenizer: PreTrainedTokenizerFast) -> InstructSegProcessor:
    config = ProcessorConfig(
        image_size=64,
        clip_size=28,
        num_image_tokens=4,
        num_temporal_queries=2,
        num_mask_queries=3,
        max_length=400,
    )
    return InstructSegProcessor(tokenizer, config)
