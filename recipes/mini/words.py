"""What people call the things on the photographs: synonyms, plurals, groups, and what things are for."""

from __future__ import annotations

from functools import cache


def _set(words: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(words.split())


SYNONYMS: dict[str, tuple[str, ...]] = {
    "person": ("person", "human", "human being"),
    "bicycle": ("bicycle", "bike", "cycle"),
    "car": ("car", "automobile", "auto"),
    "motorcycle": ("motorcycle", "motorbike"),
    "airplane": ("airplane", "plane", "aeroplane", "aircraft", "jet"),
    "bus": ("bus", "coach"),
    "train": ("train", "railway train"),
    "truck": ("truck", "lorry"),
    "boat": ("boat", "ship", "vessel"),
    "traffic light": ("traffic light", "stoplight", "traffic signal"),
    "fire hydrant": ("fire hydrant", "hydrant"),
    "stop sign": ("stop sign",),
    "parking meter": ("parking meter",),
    "bench": ("bench", "park bench"),
    "bird": ("bird",),
    "cat": ("cat", "kitty", "kitten"),
    "dog": ("dog", "puppy", "hound"),
    "horse": ("horse", "pony"),
    "sheep": ("sheep", "lamb"),
    "cow": ("cow", "bull", "cattle"),
    "elephant": ("elephant",),
    "bear": ("bear",),
    "zebra": ("zebra",),
    "giraffe": ("giraffe",),
    "backpack": ("backpack", "rucksack"),
    "umbrella": ("umbrella", "parasol"),
    "handbag": ("handbag", "hand bag"),
    "tie": ("tie", "necktie"),
    "suitcase": ("suitcase", "luggage", "trunk"),
    "frisbee": ("frisbee", "flying disc"),
    "skis": ("skis", "pair of skis"),
    "snowboard": ("snowboard",),
    "sports ball": ("ball", "sports ball"),
    "kite": ("kite",),
    "baseball bat": ("baseball bat", "bat"),
    "baseball glove": ("baseball glove", "mitt"),
    "skateboard": ("skateboard",),
    "surfboard": ("surfboard", "surf board"),
    "tennis racket": ("tennis racket", "racket"),
    "bottle": ("bottle",),
    "wine glass": ("wine glass", "glass"),
    "cup": ("cup", "mug"),
    "fork": ("fork",),
    "knife": ("knife",),
    "spoon": ("spoon",),
    "bowl": ("bowl",),
    "banana": ("banana",),
    "apple": ("apple",),
    "sandwich": ("sandwich",),
    "orange": ("orange", "orange fruit"),
    "broccoli": ("broccoli",),
    "carrot": ("carrot",),
    "hot dog": ("hot dog", "hotdog"),
    "pizza": ("pizza",),
    "donut": ("donut", "doughnut"),
    "cake": ("cake",),
    "chair": ("chair", "seat"),
    "couch": ("couch", "sofa"),
    "potted plant": ("potted plant", "house plant", "plant in a pot"),
    "bed": ("bed",),
    "dining table": ("table", "dining table"),
    "toilet": ("toilet",),
    "tv": ("tv", "television", "screen", "monitor"),
    "laptop": ("laptop", "notebook computer"),
    "mouse": ("computer mouse", "mouse"),
    "remote": ("remote", "remote control"),
    "keyboard": ("keyboard", "computer keyboard"),
    "cell phone": ("cell phone", "phone", "mobile phone", "smartphone"),
    "microwave": ("microwave", "microwave oven"),
    "oven": ("oven", "stove"),
    "toaster": ("toaster",),
    "sink": ("sink", "wash basin"),
    "refrigerator": ("refrigerator", "fridge"),
    "book": ("book",),
    "clock": ("clock",),
    "vase": ("vase",),
    "scissors": ("scissors", "pair of scissors"),
    "teddy bear": ("teddy bear", "teddy", "stuffed toy"),
    "hair drier": ("hair drier", "hair dryer"),
    "toothbrush": ("toothbrush",),
    "grass": ("grass", "lawn", "meadow"),
    "road": ("road", "street", "pavement"),
    "sky": ("sky", "heavens"),
    "building": ("building", "house"),
    "tree": ("tree",),
    "water": ("water", "sea", "lake"),
    "face": ("face", "human face"),
    "flower": ("flower", "blossom"),
    "sign": ("sign", "road sign"),
    "mountain": ("mountain", "hill"),
    "skin": ("skin", "bare skin"),
    "hair": ("hair",),
    "shoes": ("shoes", "pair of shoes", "footwear"),
    "bag": ("bag",),
    "pants": ("pants", "trousers"),
    "sunglasses": ("sunglasses", "dark glasses", "shades"),
    "dress": ("dress",),
    "coat": ("coat", "overcoat"),
    "purse": ("purse",),
    "blouse": ("blouse",),
    "accessories": ("accessories",),
    "belt": ("belt",),
    "shirt": ("shirt",),
    "skirt": ("skirt",),
    "jeans": ("jeans", "denim pants"),
    "sweater": ("sweater", "pullover"),
    "hat": ("hat", "headwear"),
    "t-shirt": ("t-shirt", "tee"),
    "blazer": ("blazer",),
    "suit": ("suit",),
    "stockings": ("stockings",),
    "bracelet": ("bracelet",),
    "scarf": ("scarf", "shawl"),
    "jacket": ("jacket",),
    "sandals": ("sandals",),
    "socks": ("socks",),
    "top": ("top",),
    "boots": ("boots",),
    "vest": ("vest", "waistcoat"),
    "shorts": ("shorts", "short pants"),
    "leggings": ("leggings",),
    "sweatshirt": ("sweatshirt",),
    "necklace": ("necklace",),
    "watch": ("watch", "wrist watch"),
    "cape": ("cape",),
    "romper": ("romper",),
    "wallet": ("wallet",),
    "loafers": ("loafers",),
    "glasses": ("glasses", "eyeglasses", "spectacles"),
    "jumper": ("jumper",),
    "heels": ("heels", "high heels"),
    "gloves": ("gloves",),
    "sneakers": ("sneakers", "trainers"),
    "pumps": ("pumps",),
    "cardigan": ("cardigan",),
    "flats": ("flats", "flat shoes"),
    "ring": ("ring",),
    "bodysuit": ("bodysuit",),
    "tights": ("tights",),
    "wedges": ("wedges",),
    "hoodie": ("hoodie",),
    "earrings": ("earrings",),
    "bra": ("bra",),
    "balloon": ("balloon",),
}
"""Category -> what it is called, the usual word first."""

IRREGULAR = {
    "person": "people",
    "human being": "human beings",
    "sheep": "sheep",
    "cattle": "cattle",
    "aircraft": "aircraft",
    "bus": "buses",
    "coach": "coaches",
    "bench": "benches",
    "park bench": "park benches",
    "wine glass": "wine glasses",
    "glass": "glasses",
    "knife": "knives",
    "sandwich": "sandwiches",
    "couch": "couches",
    "broccoli": "broccoli",
    "mouse": "mice",
    "computer mouse": "computer mice",
    "lorry": "lorries",
    "puppy": "puppies",
    "pony": "ponies",
    "kitty": "kitties",
    "teddy": "teddies",
    "torch": "torches",
    "luggage": "luggage",
    "toothbrush": "toothbrushes",
    "scarf": "scarves",
    "dress": "dresses",
    "watch": "watches",
    "wrist watch": "wrist watches",
    "box": "boxes",
}
UNCOUNTED = _set(
    "grass road sky water skin hair shoes pants sunglasses jeans stockings sandals socks boots "
    "shorts leggings glasses loafers heels gloves sneakers pumps flats tights wedges earrings "
    "accessories skis scissors"
)
"""Categories without a plural of their own."""

CLOTHES = _set(
    "pants dress coat blouse shirt skirt jeans sweater t-shirt blazer suit stockings jacket "
    "socks top vest shorts leggings sweatshirt cape romper jumper cardigan bodysuit tights "
    "hoodie bra scarf hat gloves tie"
)
FOOTWEAR = _set("shoes sandals boots loafers heels sneakers pumps flats wedges")
BAGS = _set("bag purse handbag backpack suitcase wallet")

RIDDEN = _set("bicycle motorcycle horse elephant skateboard surfboard snowboard skis")
HELD = frozenset(
    {"umbrella", "tennis racket", "baseball bat", "baseball glove", "cell phone", "cup", "bottle", "wine glass",
     "frisbee", "remote", "teddy bear", "handbag", "suitcase", "banana", "pizza", "donut", "hot dog", "kite",
     "toothbrush", "book"}
)  # fmt: skip

GROUPS: dict[str, frozenset[str]] = {
    "animal": _set("bird cat dog horse sheep cow elephant bear zebra giraffe"),
    "vehicle": _set("bicycle car motorcycle airplane bus train truck boat"),
    "piece of furniture": frozenset({"chair", "couch", "bed", "dining table", "bench"}),
    "food": frozenset(
        {"banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake"}
    ),
    "fruit": frozenset({"banana", "apple", "orange"}),
    "vegetable": frozenset({"broccoli", "carrot"}),
    "piece of cutlery": frozenset({"fork", "knife", "spoon"}),
    "electronic device": frozenset({"tv", "laptop", "mouse", "remote", "keyboard", "cell phone"}),
    "appliance": frozenset({"microwave", "oven", "toaster", "refrigerator"}),
    "piece of clothing": CLOTHES,
    "footwear": FOOTWEAR,
    "plant": frozenset({"tree", "flower", "grass", "potted plant"}),
    "sports gear": frozenset(
        {"frisbee", "skis", "snowboard", "sports ball", "baseball bat", "baseball glove", "skateboard",
         "surfboard", "tennis racket"}
    ),
}  # fmt: skip
"""Wider word -> the categories that it covers."""

PURPOSES: dict[str, frozenset[str]] = {
    "something to sit on": frozenset({"chair", "couch", "bench"}),
    "something to sleep in": frozenset({"bed"}),
    "something that can be ridden": frozenset({"bicycle", "motorcycle", "horse", "elephant"}),
    "what can fly": frozenset({"airplane", "bird", "kite"}),
    "what floats on water": frozenset({"boat", "surfboard"}),
    "something to eat": GROUPS["food"],
    "something to drink from": frozenset({"cup", "wine glass", "bottle"}),
    "what cuts bread": frozenset({"knife"}),
    "what cuts paper": frozenset({"scissors"}),
    "what soup is eaten with": frozenset({"spoon"}),
    "what tells the time": frozenset({"clock", "watch"}),
    "what keeps the rain off": frozenset({"umbrella"}),
    "something to read": frozenset({"book"}),
    "what keeps food cold": frozenset({"refrigerator"}),
    "what is worn on the head": frozenset({"hat"}),
    "what is worn on the feet": FOOTWEAR | {"socks"},
    "what protects the eyes from the sun": frozenset({"sunglasses"}),
    "something to carry things in": BAGS,
    "the animal that gives wool": frozenset({"sheep"}),
    "the animal that gives milk": frozenset({"cow"}),
    "the animal that barks": frozenset({"dog"}),
    "the animal with stripes": frozenset({"zebra"}),
    "the animal with a trunk": frozenset({"elephant"}),
    "the animal with a long neck": frozenset({"giraffe"}),
    "what cars drive on": frozenset({"road"}),
    "what is above the horizon": frozenset({"sky"}),
    "what holds flowers": frozenset({"vase"}),
    "what switches the channel": frozenset({"remote"}),
    "what one calls someone with": frozenset({"cell phone"}),
    "what many passengers ride in": frozenset({"bus", "train", "airplane"}),
}
"""A question's answer -> the categories that answer it."""

MAIN = ("the main object", "the main subject", "what the photo is about", "the most prominent object")
"""Names of the one salient object."""

PEOPLE = ("man", "woman", "guy", "lady", "boy", "girl", "child", "kid")
"""What one person is called too; the annotations do not say which fits, so none is ever asked for as absent."""

OVERLAPS: tuple[frozenset[str], ...] = (
    frozenset({"person", "face", "skin", "hair"})
    | CLOTHES
    | FOOTWEAR
    | {"sunglasses", "glasses", "accessories"},
    frozenset({"bag", "purse", "handbag", "wallet"}),
    CLOTHES,
    FOOTWEAR,
    frozenset({"building", "sign"}),
    frozenset({"tree", "potted plant", "flower", "grass"}),
    frozenset({"watch", "bracelet", "accessories", "ring", "necklace", "earrings", "belt", "hat"}),
    frozenset({"sunglasses", "glasses"}),
    frozenset({"wine glass", "cup"}),
)
"""Categories of which one's mask may be said to be another's too; neither is an error for the other."""


def plural(word: str) -> str:
    """The plural of a word of :data:`SYNONYMS` or :data:`GROUPS`."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    for head in ("piece of ", "pair of "):
        if word.startswith(head):
            return head.replace(" of", "s of") + word.removeprefix(head)
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")


@cache
def compatible(category: str, other: str) -> bool:
    """Whether a mask of ``category`` may rightly be called ``other``, or it cannot be known."""
    return category == other or any({category, other} <= group for group in OVERLAPS)
