"""Words that say the same as one that small models are taught: the tokenizer reads them as that one."""

from __future__ import annotations

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
)
"""Pattern in lower case -> what is read in its place, in this order; a shade is read as the nearest colour."""
