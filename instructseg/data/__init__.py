"""Data sets: where samples come from. They know neither the tokenizer nor the model."""
