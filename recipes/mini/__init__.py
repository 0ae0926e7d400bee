"""How the bundled model ``mini`` is made: from photographs with masks, by rule."""
