"""The loss of answers: cross-entropy of their tokens, with a z-loss.

Letters: ``B`` rows, ``T`` tokens, ``V`` vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def token_losses(logits: torch.Tensor, tokens: torch.Tensor, z_weight: float = 0.0) -> torch.Tensor:
    """Cross-entropy of each token plus ``z_weight log(Z)**2``, ``float32[B, T]``.

    ``Z`` is the denominator of the softmax. The second term keeps logits from drifting (PaLM, arXiv 2204.02311,
    section 5; 1e-5 in Lumina-mGPT and Explanatory Instructions).

    Args:
        logits: ``float[B, T, V]``.
        tokens: ``int64[B, T]``.
        z_weight: of the z-loss; 0 for none.
    """
    values = logits.float()
    losses = F.cross_entropy(values.mT, tokens, reduction="none")
    return losses + z_weight * values.logsumexp(-1).square() if z_weight else losses
