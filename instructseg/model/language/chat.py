"""The text around an instruction and its reply, as a language model was trained to read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChatFormat:
    """One round of a conversation in the words of one language model.

    A round reads ``system + human + reply + end``. A token never spans the boundary between ``human`` and
    ``reply``, so ``reply`` starts with a blank or a line break, or ``human`` ends with a special token.

    Attributes:
        human: the user's turn up to where the reply starts; ``{}`` stands for what is said.
        system: the system prompt in front of it, ``{}`` likewise; left out where there is no system prompt.
        reply: the reply, ``{}`` likewise.
        end: the token that ends a reply; one entry of the vocabulary.
    """

    human: str
    system: str
    reply: str
    end: str

    def head(self, system: str, human: str) -> str:
        """The conversation up to the reply."""
        return (self.system.replace("{}", system) if system else "") + self.human.replace("{}", human)

    def tail(self, reply: str) -> str:
        """The reply and the token that ends it."""
        return self.reply.replace("{}", reply) + self.end
