"""The paper's ablations at the size of the bundled model."""
