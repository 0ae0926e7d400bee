"""Other segmentation systems behind the same predictor protocol."""
