"""Makes the bundled model from trained weights: ``python -m recipes.mini.bundle --help``.

Words that instructions do not need leave the table (their pieces stay, so no text is unreadable), the language
model is stored in 8 bits, the rest in half precision.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from instructseg.engine.checkpoint import load_weights
from instructseg.model import InstructSeg, InstructSegConfig
from instructseg.model.quantized import quantize_model
from instructseg.processing import InstructSegProcessor
from recipes.mini import instructions, places, relations
from recipes.mini.build import start_model, start_processor
from recipes.mini.looks import COLOURS
from recipes.mini.names import all_phrases
from recipes.mini.wording import HELD_OUT, TRAINED
from recipes.mini.words import PEOPLE, plural

COMMON = 6000
"""The most frequent tokens stay in any case: WordPiece vocabularies are sorted by frequency."""
_TOKEN = re.compile(r"(##)?[a-z]+|(##)?[0-9]{1,2}|[!-~]|\[(PAD|UNK|CLS|SEP|MASK|SEG)\]")


def kept_tokens(vocabulary: Mapping[str, int], words: Collection[str]) -> list[str]:
    """The tokens that stay, in their old order: readable ones that are common, pieces, or among ``words``."""

    def stays(token: str, number: int) -> bool:
        if _TOKEN.fullmatch(token) is None:
            return False
        return number < COMMON or not token[0].isalpha() or token in words

    return [token for token, number in sorted(vocabulary.items(), key=lambda e: e[1]) if stays(token, number)]


def lexicon(wordnet: Path) -> set[str]:
    """The words of WordNet's index files (``index.noun``, ...), and those of this recipe."""
    found: set[str] = set()
    for file in sorted(wordnet.glob("index.*")):
        lines = (line for line in file.read_text().splitlines() if line[:1].strip())
        found |= {part for line in lines for part in line.split(" ", 1)[0].split("_")}
    if not found:
        raise FileNotFoundError(f"{wordnet} has no index files of WordNet: install wordnet-base")
    plurals = {word + end for word in found for end in ("s", "es")}
    told = {word for phrase in all_phrases() for word in re.findall("[a-z]+", phrase.text)}
    return found | plurals | told


def met_words() -> tuple[str, ...]:
    """Words that instructions of the training have, in alphabetical order."""
    texts = [phrase.text for phrase in all_phrases()] + [frame.lower() for frame in (*TRAINED, *HELD_OUT)]
    for module in (places, relations, instructions):
        nodes = list(ast.walk(ast.parse(inspect.getsource(module))))
        docs = {id(one.value) for one in nodes if isinstance(one, ast.Expr)}
        strings = (one for one in nodes if isinstance(one, ast.Constant) and id(one) not in docs)
        texts += [one.value for one in strings if isinstance(one.value, str)]
    texts += [*COLOURS, "gray", *PEOPLE, *map(plural, PEOPLE), "an", "both", "every"]
    return tuple(sorted({word for text in texts for word in re.findall("[a-z]+", text.lower())}))


def cut_tokenizer(tokenizer: PreTrainedTokenizerFast, kept: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of the ``kept`` tokens, numbered in their order."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    places = {token: number for number, token in enumerate(kept)}
    content["model"]["vocab"] = places
    content["added_tokens"] = [
        {**entry, "id": places[entry["content"]]}
        for entry in content["added_tokens"]
        if entry["content"] in places
    ]
    for token in content["post_processor"]["special_tokens"].values():
        token["ids"] = [places[name] for name in token["tokens"]]
    options = {name: value for name, value in tokenizer.init_kwargs.items() if name.endswith("_token")}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content)), **options)


def bundle(weights: Path, wordnet: Path, threshold: float, cut: float) -> InstructSeg:
    """The model as it is bundled.

    Args:
        weights: folder of the trained ``model.safetensors``.
        wordnet: folder of WordNet's index files.
        threshold: presence below which an answer is empty.
        cut: score from which a query is one of several objects.
    """
    full = start_model()
    load_weights(full, weights)
    processor = start_processor(full)
    vocabulary = processor.tokenizer.get_vocab()
    kept = kept_tokens(vocabulary, lexicon(wordnet))
    config = full.config.to_dict()
    config["text_config"] = {**config["text_config"], "vocab_size": len(kept)}
    model = InstructSeg(InstructSegConfig(**config))
    state = full.state_dict()
    table = next(name for name in state if name.endswith("word_embeddings.weight"))
    state[table] = state[table][[vocabulary[token] for token in kept]]
    model.load_state_dict(state)
    quantize_model(model.eval(), "int8")
    assert isinstance(processor.tokenizer, PreTrainedTokenizerFast)
    model.processor = InstructSegProcessor(
        cut_tokenizer(processor.tokenizer, kept),
        replace(processor.config, presence_threshold=threshold, instance_threshold=cut, words=met_words()),
    )
    return model.to(torch.float16)  # type: ignore[arg-type]  # transformers wraps Module.to


def main() -> None:
    """Reads the command line and writes the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="folder of the trained model.safetensors")
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"), help="its index files")
    parser.add_argument(
        "--threshold", type=float, required=True, help="presence below which an answer is empty"
    )
    parser.add_argument("--cut", type=float, required=True, help="score from which a query is an object")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    model = bundle(arguments.weights, arguments.wordnet, arguments.threshold, arguments.cut)
    model.save_pretrained(arguments.output)
    print(f"{(arguments.output / 'model.safetensors').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
