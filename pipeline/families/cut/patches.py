"""Patches of features, and how well those of two images can be told apart (PatchNCE).

Park et al. 2020, "Contrastive learning for unpaired image-to-image translation", section 3; the
loss is InfoNCE of van den Oord et al. 2018, "Representation learning with contrastive predictive
coding".
"""

from __future__ import annotations

import torch


def positions(draws: torch.Tensor, count: int) -> torch.Tensor:
    """Return places to look at, int64 (n, p): each at random, and no two of a row the same.

    All `count` places are cut into p runs of the same length, give or take one, and one place is
    drawn from each. So patches are spread over the image.

    Args:
        draws: uniform numbers in [0, 1), float32 (n, P); p is P, or `count` if that is less.
        count: places there are.
    """
    patches = min(draws.shape[1], count)
    edges = torch.arange(patches + 1, device=draws.device) * count // patches
    lengths = edges.diff()
    within = torch.minimum((draws[:, :patches] * lengths).long(), lengths - 1)
    return edges[:-1] + within


def sample(features: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Return the features of some patches, (n, p, C), of features (n, C, H, W).

    The same numbers choose the same patches: see `positions`.
    """
    rows = features.permute(0, 2, 3, 1).flatten(1, 2)  # a view, in channels_last
    places = positions(draws, rows.shape[1])
    return rows.gather(1, places[:, :, None].expand(-1, -1, rows.shape[2]))


def contrast(queries: torch.Tensor, keys: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return each image's mean cross-entropy of finding a patch's key among those of its image.

    Args:
        queries: projected patches of length 1, float32 (n, p, D).
        keys: of the same places, which are not to be changed: no gradient flows to them.
        temperature: what the similarities are divided by.

    Returns:
        float32 (n,): log(p) if all patches are alike.
    """
    similarities = queries @ keys.detach().transpose(1, 2) / temperature
    own = similarities.diagonal(dim1=1, dim2=2)
    return (torch.logsumexp(similarities, 2) - own).mean(1)
