"""Words that say the same as one that small models are taught: the tokenizer reads them as that one.

The model marks every object that fits "the star", but was never asked for "both stars": what says how many are
meant is read as "the", where no other phrase that it was taught has such words. Predictors know from the words
themselves how many to give.
"""

from __future__ import annotations

_NUMBERS = "two|three|four|five|six|seven|eight"
_NOUNS = "(circles|squares|triangles|stars|crosses|rings|hearts|diamonds|things|objects|shapes)"
_OTHERWISE = "".join(
    rf"(?<!\b{word} )"
    for word in (
        "of",
        "than",
        "above",
        "below",
        "behind",
        "from",
        "following",
        "while",
        "count",
        "its",
        "has",
        "is",
        "there",
    )
)
"""Not behind these: "larger than all other ones", "the largest of all", "count all stars", the prompt."""

SYNONYMS: tuple[tuple[str, str], ...] = (
    (r"\bfurthest\b", "farthest"),
    (r"\buppermost\b", "topmost"),
    (r"\b(bottommost|lowermost)\b", "lowest"),
    (r"\b(tiniest|littlest)\b", "smallest"),
    (r"\b(tiny|little)\b", "small"),
    (r"\b(huge|giant|gigantic|enormous)\b", "big"),
    (r"\b(crimson|scarlet)( red)?\b", "red"),
    (r"\b(golden|gold)( yellow)?\b", "yellow"),
    (r"\bnavy( blue)?\b", "blue"),
    (r"\blilac\b", "purple"),
    (r"\bsolid\b", "plain"),
    (r"\bcolored\b", "coloured"),
    (r"\bdis[ck](?=s?\b)", "circle"),
    (r"\bplus\b(?! sign)", "cross"),
    (r"\bpluses\b", "crosses"),
    (r"\bdoughnut", "donut"),
    (r"\blozenge", "diamond"),
    (r"\bsymbol of\b", "sign of"),
    (r"\bsymbol", "shape"),
    (
        rf"{_OTHERWISE}\b(all|both|each|every)( one)?( of)?( the)?( ({_NUMBERS}))?(?= \w)(?!.* but one\b)",
        "the",
    ),
    (rf"{_OTHERWISE}\bthe ({_NUMBERS})(?= (\w+ ){{0,2}}{_NOUNS}\b)", "the"),
    (rf"{_OTHERWISE}(?<!\bthe )\b({_NUMBERS})(?= (\w+ ){{0,2}}{_NOUNS}\b)", "the"),
)
"""Pattern in lower case -> what is read in its place, in this order; a shade is read as the nearest colour."""
