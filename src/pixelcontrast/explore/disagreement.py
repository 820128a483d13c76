"""Regions whose neighbours bear another label: likely errors of the labels, or two classes that are one to the network.

A region is compared with the regions of all other images, by the cosine of their mean embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

_CHUNK = 1 << 22  # similarities that are held at once: 16 MB


@dataclass(frozen=True)
class Disagreement:
    """What the neighbours of each region say of its label.

    Attributes:
        asked: How many neighbours had a say; 0 for a region that is not judged.
        against: How many of them bear another label.
        suggested: The label that most of those against bear, of equals the lowest; the region's own if there is none.
        support: How many bear it.
        similarity: Mean cosine with those that bear it; 0 if there is none.
    """

    asked: Int[Tensor, " r"]
    against: Int[Tensor, " r"]
    suggested: Int[Tensor, " r"]
    support: Int[Tensor, " r"]
    similarity: Float[Tensor, " r"]

    def suspects(self) -> Int[Tensor, " n"]:
        """Regions that neighbours speak against: the greatest share against first, of equals the most similar."""
        share = self.against / self.asked.clamp(min=1)
        order = self.similarity.argsort(descending=True, stable=True)
        order = order[share[order].argsort(descending=True, stable=True)]
        return order[self.against[order] > 0]


def ask_neighbours(
    features: Float[Tensor, "r c"],
    labels: Int[Tensor, " r"],
    images: Int[Tensor, " r"],
    *,
    num_classes: int,
    neighbours: int = 10,
) -> Disagreement:
    """Ask the nearest regions of other images for their labels.

    A class with few regions would be outvoted for want of members. So a region asks at most as many neighbours as there
    are regions of its class in other images; where there is none, it is not judged.

    Args:
        features: Mean embeddings of the regions, unit length.
        labels: Class ids.
        images: Which image each is of.
        num_classes: Number of classes.
        neighbours: How many are asked at most.

    Cost: a product of [r x c] and [c x r], in chunks.
    """
    parts = []
    for rows in torch.split(torch.arange(len(labels)), max(1, _CHUNK // max(len(labels), 1))):
        elsewhere = images[rows][:, None] != images
        peers = (elsewhere & (labels[rows][:, None] == labels)).sum(dim=1).clamp(max=neighbours)
        similarity = (features[rows] @ features.T).masked_fill(~elsewhere, -torch.inf)
        found, index = similarity.topk(min(neighbours, len(labels)), dim=1)
        asked = torch.arange(index.shape[1]) < peers[:, None]
        parts.append((peers, *_count_votes(labels[rows], labels[index], found, asked, num_classes)))
    return Disagreement(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _count_votes(
    own: Int[Tensor, " n"], votes: Int[Tensor, "n k"], similarity: Tensor, asked: Tensor, num_classes: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How many are against, what most of them suggest, how many do, and how similar they are."""
    against = asked & (votes != own[:, None])
    counts = F.one_hot(votes.where(against, num_classes), num_classes + 1)[..., :num_classes].sum(dim=1)
    suggested = counts.argmax(dim=1)
    support = counts.gather(1, suggested[:, None])[:, 0]
    voters = against & (votes == suggested[:, None])
    mean = similarity.where(voters, 0).sum(dim=1) / voters.sum(dim=1).clamp(min=1)
    return against.sum(dim=1), suggested.where(support > 0, own), support, mean
