"""InstructSeq: masks, class maps, boxes and captions as sequences of tokens of one vocabulary."""
