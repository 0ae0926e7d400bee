"""How a small model comes to see and to read before it is trained as a whole, on scenes of known truth."""
