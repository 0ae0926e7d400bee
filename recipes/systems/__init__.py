"""How the tiny models of the other systems are made."""
