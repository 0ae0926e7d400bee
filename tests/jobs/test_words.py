"""Which words of a command line are inputs, and which are prompts; files of prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from instructseg.benchmarks.xlsx import write_xlsx
from instructseg.jobs.words import Request, parse_words, read_prompts, several_in_one

from .test_inputs import place

__all__ = ["place"]


@pytest.mark.parametrize(
    ("words", "inputs", "prompts"),
    [
        ("a.png|the red circle", "a.png", "the red circle"),
        ("a.png|a|b", "a.png", "a|b"),
        ("a.png|b.png|the red circle|dog", "a.png|b.png", "the red circle|dog"),
        ("a.png|folder|dog|cat", "a.png|folder", "dog|cat"),
        ("a.png|empty", "a.png", "empty"),  # an empty folder is nobody's input, and may be a word
        ("*.png|dog", "[c].png|a.png|b.png", "dog"),
        ("[c].png|dog", "[c].png", "dog"),
        ("folder/*|dog", "folder/1.png|folder/2.JPG", "dog"),
        ("a.png|folder/?.png|what rolls?", "a.png|folder/1.png", "what rolls?"),
        ("a.png|is it red?|[which] one*", "a.png", "is it red?|[which] one*"),
        ("none|dog", "none", "dog"),  # told when it is opened
    ],
)
def test_words(words: str, inputs: str, prompts: str) -> None:
    found = parse_words(words.split("|"))
    assert found == Request(list(map(Path, inputs.split("|"))), prompts.split("|"))


def test_prompts_by_an_option_or_a_file() -> None:
    found = parse_words(["a.png", "b.png"], ["b.png", "the"])
    assert found == Request([Path("a.png"), Path("b.png")], ["b.png", "the"])
    Path("prompts.txt").write_text("\ufeffthe dog\n\n  a cat \n", encoding="utf-8")
    assert read_prompts(Path("prompts.txt")) == ["the dog", "a cat"]
    with pytest.raises(ValueError, match=r"a\.png is no file of prompts"):
        read_prompts(Path("a.png"))
    for raw, message in ((b"", "has no prompts"), (b"caf\xe9", "not encoded in UTF-8")):
        Path("prompts.txt").write_bytes(raw)
        with pytest.raises(ValueError, match=message):
            read_prompts(Path("prompts.txt"))
    with pytest.raises(FileNotFoundError, match="no such file of prompts"):
        read_prompts(Path("none.txt"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a.png", "Missing argument PROMPT"),
        ("a.png|folder", "Missing argument PROMPT: 'folder' is an input, as it exists"),
        ("a.png|dog|b.png", "'b.png' is a file or a folder, not a prompt"),
        ("a.png|dog|folder", "'folder' is a file or a folder, not a prompt"),
        ("a.png|dog|word", "'word' is a file or a folder, not a prompt"),
        ("a.png|dog|none.mp4", "'none.mp4' is a file or a folder, not a prompt"),
        ("a.png|none.png|dog", "no such image: none.png"),
        ("none/*.png|dog", "no image, video or folder matches 'none/"),
        ("a.png|the|red|circle", 'put a sentence in quotes, as "the red circle"'),
        ("a.png|circle|on|left", "put a sentence in quotes"),
        ("a.png|red|circle", "put a sentence in quotes"),
        ("a.png|A|dog", "put a sentence in quotes"),
        ("s3://x/a.jpg|dog", "s3://x/a.jpg is no address of the web: download it first"),
        ("|dog", "an input is empty"),
        ("a.png|", "a prompt is empty"),
        ("a.png|dog| ", "a prompt is empty"),
        ("a.png|caf\udce9", r"'caf.udce9' is not encoded in UTF-8"),
        ("a\udce9.png|dog", "is not encoded in UTF-8"),
    ],
)  # fmt: skip
def test_what_is_refused(words: str, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message.replace("*", r"\*")):
        parse_words(words.split("|"))


@pytest.mark.parametrize("prompts", [["dog", "cat"], ["red", "blue"], ["the dog", "on"], ["the"], ["a"] * 9])
def test_single_words_may_be_meant(prompts: list[str]) -> None:
    assert parse_words(["a.png", *prompts]).prompts == prompts
    assert parse_words(["a.png", "the", "red", "circle"], sure=True).prompts == ["the", "red", "circle"]


def test_addresses_and_standard_input_are_inputs() -> None:
    found = parse_words(["https://x.org/a.jpg", "a.png", "-", "the dog"])
    assert found == Request(["https://x.org/a.jpg", Path("a.png"), "-"], ["the dog"])


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".xlsx"])
def test_tables_of_prompts(suffix: str) -> None:
    def table(*rows: tuple[str, ...]) -> Path:
        file = Path("folder") / f"prompts{suffix}"
        if suffix == ".xlsx":
            write_xlsx(file, rows)
        else:
            separator = "," if suffix == ".csv" else "\t"
            file.write_text("\ufeff" + "\n".join(separator.join(row) for row in rows), encoding="utf-8")
        return file

    assert read_prompts(table(("Prompt", "note"), ("the dog", "x"), ("", ""), ("a cat", ""))) == [
        "the dog",
        "a cat",
    ]
    rows = [("image", "instruction"), ("1.png", "the dog"), ("2.JPG", "a cat"), ("1.png", "a hat")]
    own = {Path("folder/1.png"): ("the dog", "a hat"), Path("folder/2.JPG"): ("a cat",)}
    found = parse_words([], file=table(*rows))
    assert found == Request(list(own), ["the dog", "a hat", "a cat"], own)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="names its own inputs: leave out others"):
        parse_words(["a.png"], file=table(*rows))
    semicolons = Path("folder/semicolons.csv")  # as spreadsheets of many countries write them
    semicolons.write_text("image;prompt\n1.png;the dog, on the left\n")
    assert read_prompts(semicolons) == {Path("folder/1.png"): ("the dog, on the left",)}
    semicolons.write_text("sep=;\nimage;prompt\n1.png;the dog, on the left\n")
    assert read_prompts(semicolons) == {Path("folder/1.png"): ("the dog, on the left",)}
    semicolons.write_text("sep=;\nimage;image\n")
    with pytest.raises(ValueError, match="line 2: two columns are called 'image'"):
        read_prompts(semicolons)
    for bad, message in (
        ([("text",), ("a",)], "has no column 'prompt': its first line names text"),
        ([("prompt",), (" ",)], "has no prompts: write them below 'prompt'"),
        ([("image", "prompt"), ("1.png", "a"), ("2.JPG", "")], "row 3: a row has both"),
    ):
        with pytest.raises(ValueError, match=message):
            read_prompts(table(*bad))


def test_prompts_that_list_several_objects_are_told() -> None:
    several = ["the red circle, the blue square", "a dog; a cat", "the dog, and all the cats"]
    one = ["the red circle, on the left", "the man in the red, torn shirt", "the dog"]
    assert several_in_one([*several, *one]) == several
