"""Weights and gradients in several processes: whole copies, FSDP2, or DeepSpeed."""
