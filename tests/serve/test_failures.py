"""Whatever goes wrong is a sentence, and only faults of the program hide what they are."""

from __future__ import annotations

import pytest
import torch

from instructseg.serve.failures import BusyError, is_fault, sentence_of

FAULT = "a fault of this program ({}), which its log describes: try again, or report it"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no  image\nyet"), "no image yet"),
        (BusyError("the server is busy"), "the server is busy"),
        (OSError(28, "No space left on device", "/tmp/secret/a.png"), "No space left on device: a.png"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("a.png is damaged"), "a.png is damaged"),
        (MemoryError(), "out of memory: try a smaller image, or fewer instructions"),
        (MemoryError("Unable to allocate 9 GiB"), "Unable to allocate 9 GiB"),
        (torch.cuda.OutOfMemoryError("out of memory: try int8"), "out of memory: try int8"),
        (RuntimeError("/tmp/secret"), FAULT.format("RuntimeError")),
        (KeyError("x"), FAULT.format("KeyError")),
        (AssertionError(), FAULT.format("AssertionError")),
        (TypeError("x"), FAULT.format("TypeError")),
    ],
)
def test_every_error_is_a_sentence(error: Exception, said: str) -> None:
    assert sentence_of(error) == said and is_fault(error) == said.startswith("a fault")
