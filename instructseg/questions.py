"""Separates questions answered in text from requests for a mask.

The model does both, by different prompts (``Task.VQA``, and the others); "how many circles are there?" as a
request would mark a circle. The rule reads the words alone, in English, and prefers a mask in doubt:

========================  =============================  =======================================
an instruction            wants words                    wants a mask
========================  =============================  =======================================
for a number              how many cats are there?       which one has three corners?
for a property            what colour is the car?        what has the colour of grass?
for yes or no             is there a dog?                can you point out the dog?
for an identity           what is this?                  what would you cut bread with?
for who, why, when, how   who is this? why is he wet?    who is leading?
for a text                describe the room              the man who reads
else                                                     where is the dog? which object could roll?
========================  =============================  =======================================
"""

from __future__ import annotations

import re

_IMAGE = r"(?:image|picture|photo|photograph|scene|drawing|frame|video|painting)"
_BE = r"(?:is|are|was|were)"
_AUXILIARY = (
    rf"(?:{_BE}|does|do|did|has|have|had|can|could|will|would|should|isn't|aren't|wasn't|doesn't|don't|can't)"
)
_DO = r"(?:does|do|did)"
_PROPERTY = (
    r"(?:colou?rs?|hue|shapes?|sizes?|textures?|patterns?|number|amount|count|age|height|weight|material|brand|"
    r"breed|species|kinds?|types?|sorts?|gender|mood|weather|season|time|date|position|direction|emotion)"
)
_ALWAYS_ASKED = (
    r"(?:colou?rs?|hue|sizes?|textures?|patterns?|kinds?|types?|sorts?|number|material|brand|breed|time|way|"
    r"direction|side|language|letters?|words?|year|country|city)"
)
"""After "what" or "which" these ask for a property; "which shape" and "which animal" may ask for a mask."""
_SUBJECT = (
    r"(?:there|it|this|that|these|those|the|a|an|any|all|both|some|every|each|most|no|one|two|three|more|he|she|"
    r"they|we|you|i|any\w+|some\w+|every\w+|his|her|its|their|another)"
)
_THIS = (
    r"(?:this|that|it|these|those|they|he|she|here|shown|visible|seen|depicted|happening|going on|"
    r"there(?: here)?(?=$| in\b| on\b| to see\b))"
)
_SUPERLATIVE = r"the (?:\w+(?:est|most)|most|least|best|worst|only|odd|first|second|third|last|one|same)\b"

_LEADS = (
    r"(?:please|kindly|ok|okay|so|well|now|and|but|hey|hi|hello)\b",
    rf"(?:in|on|looking at) (?:this|the) {_IMAGE}\b",
    r"(?:(?:can|could|will|would) you )?(?:please )?(?:tell|let) (?:me|us)(?: know)?\b",
    r"(?:(?:can|could) (?:you|we|i)|do (?:you|we)|i want to|i would like to|i'd like to|i) (?:please )?"
    r"(?:see|tell|say|know|wonder)(?= (?:if|whether|how|what|which|who|why|when|(?:of|in) what|the \w+ of) )",
)
"""Openings before the question itself, such as "please" or "can you tell me"."""

_MASK = (
    # asked to act on an object: "can you point out the dog?", not "can you see a dog?"
    r"(?:can|could|will|would) you (?:please )?"
    r"(?!(?:see|tell|count|say|describe|explain|read|name|list)\b|(?:find|spot|detect) (?:a|an|any|some)\b)\w+",
    # something definite: "do you see the thing with the shape of the moon?", not "do you see the colour of it?"
    rf"(?:do|can|could) you (?:see|tell) (?:me )?(?:the|which|what|where) (?!{_PROPERTY} of\b)",
    rf"(?:what|which|who)\b[^,]* {_BE} {_SUPERLATIVE}",
)
_WORDS = (
    r"(?:(?:of|in|to|at) )?how\b(?!-)",
    r"(?:if|whether|why|when)\b(?!.*\b(?:which|what|who|where)\b)[^,]*$",
    r"(?:can you )?count (?:the|all|every|each|both|how|these|those|\w+s$)",
    rf"(?:(?:of|in|from|on) )?(?:what|which) (?:\w+ )?{_ALWAYS_ASKED}\b",
    r"(?:of )?what (?:\w+ )?shapes?\b(?! (?:can|could|would|should)\b)",
    rf"which shapes? (?:{_BE}|{_DO}|has|have) (?:this|that|it|these|those|the|a|an|there)\b",
    rf"what {_BE} (?:(?:the|its|his|her|their) )?(?:\w+ )?{_PROPERTY}(?: (?:of|in)\b|$)",
    rf"(?:name|list|state|give me|read) (?:the|all|its) (?:\w+ )?{_PROPERTY} of\b",
    r"the (?:colou?r|size|shape|number|amount|count|age|weight|height) of .+",
    rf"what (?:\w+ )?{_BE} (?:{_THIS}\b|(?:in|on) (?:this|the) {_IMAGE}\b)(?! (?:has|that|which|with)\b)",
    rf"what {_BE} .+ (?:doing|called|made of|about|like|saying|looking at)$",
    rf"what {_DO} .+ (?:say|mean|show|look like|depict|see|do)"
    rf"(?: here| in (?:this|the) {_IMAGE})?$",
    rf"who {_BE} (?:{_THIS}\b|(?:in|on) (?:this|the) {_IMAGE}\b)",
    rf"who {_BE} the (?:\w+ )?(?:man|woman|person|boy|girl|people)\b(?! (?:that|who)\b)",
    r"who (?:painted|took|made|drew|wrote|created)\b",
    r"(?:what|which|who)\b.*, .+ or .+",
    r"whose\b",
    r"any\b.+\?$",
    rf"{_AUXILIARY} {_SUBJECT}\b",
    rf"(?:{_BE}|does|did) .+\?$",
    rf"there {_BE} .+\?$",
    rf".+ (?:has|have|{_BE}|of) (?:which|what) {_PROPERTY}\?$",
    r"(?:describe|summari[sz]e|explain)\b",
    r"(?:name|list) (?:all|every|each|everything|the (?:objects|things|shapes|animals))\b",
)
_ASKS_FOR_MASK, _ASKS_FOR_WORDS = (re.compile("|".join(rules)) for rules in (_MASK, _WORDS))
_LEAD = re.compile(rf"(?:{'|'.join(_LEADS)})[,:]? *")
_LONGEST = 400
"""Limit of characters read; some rules above take quadratic time."""
_SHORT = re.compile(r"\b(what|who|how|where|there|that|it)'s\b")


def wants_words(instruction: str) -> bool:
    """True if an instruction asks for text and not for a mask, by the rule above.

    Example::

        from instructseg import wants_words

        wants_words("how many circles are there?")  # True
        wants_words("which object could roll?")  # False

    Args:
        instruction: as written, in English.
    """
    text = " ".join(instruction.lower().replace("\u2019", "'").split())[:_LONGEST].strip(' .!"')
    text = _SHORT.sub(r"\1 is", text)
    while True:
        rest = _LEAD.sub("", text, count=1) if _LEAD.match(text) else text
        if not rest or rest == text:
            break
        text = rest
    bare = text.rstrip(" ?")
    if _ASKS_FOR_MASK.match(bare):
        return False
    return bool(_ASKS_FOR_WORDS.match(bare) or _ASKS_FOR_WORDS.match(text))
