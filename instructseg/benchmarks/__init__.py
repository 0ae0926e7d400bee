"""Evaluation on benchmarks: prediction, scores, submissions and reports."""
