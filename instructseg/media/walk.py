"""Which packets of a video must give a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Walk:
    """Where a way through the packets is.

    Attributes:
        codec: its name.
        ordered: whether packets say when they are shown.
        keyed: whether a key frame was seen.
        began: whether frames must come: not so at the beginning of a cut recording, up to its first key frame.
        start: the time of the key frame at which reading began; what is shown before may not decode.
        skipping: whether packets are passed over, up to the next key frame.
        last_dts: of the last packet that was decoded.
        limit: up to when frames in the decoder are good.
        cut: whether the file begins between key frames, as a cut recording does.
    """

    codec: str
    ordered: bool = True
    keyed: bool = False
    began: bool = False
    start: int | None = None
    skipping: bool = False
    last_dts: int | None = None
    limit: int | None = None
    cut: bool = False

    def begin(self, packet: Any) -> bool:
        """Notes a packet; whether frames must come now."""
        if packet.is_keyframe and not self.keyed:
            self.keyed = self.began = True
            self.start = packet.pts
        self.cut = self.cut or not self.keyed
        return self.began

    def shows(self, packet: Any) -> bool:
        """Whether a packet must give a frame."""
        if packet.is_discard:  # hidden by an edit list
            return False
        if self.start is not None and packet.pts is not None and packet.pts < self.start:
            return False
        head = bytes(packet)
        if self.codec == "vp8":
            return bool(head[0] & 0x10)
        if self.codec == "vp9" and head[0] >> 4 != 0b1011 and head[-1] & 0xE0 != 0xC0:
            return bool(head[0] & 0x0A)  # show_existing_frame, show_frame; several in one packet show one
        return not (self.codec == "mpeg4" and len(head) < 12)  # says that nothing moved
