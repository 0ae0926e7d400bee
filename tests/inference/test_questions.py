"""Questions told from requests for a mask: a table of both, and what stands around a description."""

from __future__ import annotations

import pytest

from instructseg.inference import wants_words
from instructseg.questions import __doc__ as page
from recipes.nano.language.phrasing import OPENERS, UNSEEN_OPENERS

WORDS = """
how many circles are there?
How many dogs can you see in this photo
In this image, how many people wear hats?
how big is the cat?
how is the weather?
how old is he
what colour is the car?
What color are the walls?
what's the colour of her hair?
which colour does the star have?
of what colour is the roof?
what shape is the red thing?
which shape is the green object?
what kind of dog is this?
what type of vehicle is shown?
what breed is the dog
what size is the heart?
what is the number of squares?
what time is it?
tell me how many stars there are
Please tell me the colour of the ball.
can you tell me what color the sky is?
can you see how many rings there are?
could you tell me if there is a cat?
count the circles
please count all the cars
is there a red circle?
Is there anything blue?
are there any dogs in the picture?
are there two stars?
is it raining?
is this a photo of a beach?
is the door open?
Are the lights on
does the man smile?
does it have a tail?
do the children look happy?
do you see a dog?
can you see a red circle?
did anyone fall?
has the man got a beard?
was the picture taken at night?
can the dog jump over it?
will it rain?
isn't this a cat?
aren't there three squares?
who is this?
who is the man in the middle?
who's in the picture?
who painted this?
why is the street wet?
when was this taken?
what is this?
What's that?
what is in the picture?
what is shown here?
what is happening?
what do you see?
what does the sign say?
what is the man doing?
what are these called?
what animal is this?
describe the scene
Describe this image in one sentence.
name the colour of the star
list all the objects
there are two circles, is that right?
there is a dog here?
the star has which colour?
Are all of the shapes the same colour?
what are the people doing?
which is bigger, the circle or the square?
whose dog is this?
any dogs here?
what sport are they playing?
could this be a bakery?
would you say it is day or night?
which side is the ball on?
""".strip().splitlines()
MASK = """
the red circle
a dog
the second heart from the left
the circle left of the red square
segment the dog
the man who is wearing a hat
the can on the table
the will of the man
can you segment the dog?
Can you point out the largest shape?
could you please mark the cat?
would you highlight the door for me?
can you show me the person who waves?
can you find the cup next to the plate?
could you cut out the bird?
do you see the thing with the shape of the moon?
what would you cut bread with?
What would roll away?
what is the largest?
what is the biggest object?
what is left of the square?
what has the colour of grass?
what looks like a wheel?
what is shaped like the sun?
what could you sit on?
which object could roll?
which shape could roll?
which one is the odd one out?
which shape is the largest?
which shape is on the left?
which one has three corners?
which animal is running?
who is leading?
who wears the red hat?
who is the fastest?
who is the tallest?
which one is parked?
which leaves first?
where is the dog?
where do you see a cat?
show me what you would eat
the one with the most corners
the number plate of the car
something to cut paper
the fastest
tell me which one is the smallest
i want the blue square
the door that is open
something that is used when it rains
what should a tired person sit on?
the object to take if it rains
which of these is red?
the anyone-can-play guitar
what is the oldest thing here?
who is the person that waves with the left hand?
when it is dark what would you switch on?
if you were hungry, the thing that you would eat
what do you see left of the red square?
the how-to book on the table
the pattern of bricks
der rote Kreis
红色的圆
12
?
""".strip().splitlines()


@pytest.mark.parametrize("text", WORDS)
def test_wants_words(text: str) -> None:
    assert wants_words(text)
    assert wants_words(f"  {text.upper()} ") and wants_words(text.replace("'", "\u2019"))


@pytest.mark.parametrize("text", MASK)
def test_wants_a_mask(text: str) -> None:
    assert not wants_words(text)


@pytest.mark.parametrize("opener", [*OPENERS, *UNSEEN_OPENERS])
def test_what_stands_around_a_description_does_not_make_it_a_question(opener: str) -> None:
    for noun in ("red circle", "dog that is left of the cat", "number plate", "thing with the colour of grass"):
        assert not wants_words(opener.format(noun))


def test_the_table_on_top_of_the_rule_is_true() -> None:
    assert page is not None
    rows = [line for line in page.splitlines() if line.startswith(("for ", "else"))]
    for row in rows:
        for column, expected in ((row[26:57], True), (row[57:], False)):
            for said in filter(None, map(str.strip, column.split("?"))):
                assert wants_words(f"{said}?") is expected, said
    assert len(rows) == 7


def test_long_and_odd_texts_take_no_time() -> None:
    for text in ("", "\ud800", "what" + ", " * 20_000, "the " * 20_000 + "has", "please " * 20_000):
        assert not wants_words(text)
