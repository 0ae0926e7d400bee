"""How the bundled models are made; not a part of the wheel."""
