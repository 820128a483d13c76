"""Loop twins of ops/dense.py, in plain Python numbers: one list of class logits a pixel, None for an ignored label."""

import math
from collections.abc import Sequence

import numpy as np

Pixels = Sequence[Sequence[float]]
Labels = Sequence[int | None]


def softmax(logits: Sequence[float]) -> list[float]:
    highest = max(logits)
    powers = [math.exp(value - highest) for value in logits]
    return [power / sum(powers) for power in powers]


def cross_entropy(pixels: Pixels, labels: Labels, weights: Sequence[float], smoothing: float) -> float:
    total = mass = 0.0
    for logits, label in zip(pixels, labels, strict=True):
        if label is None:
            continue
        logs = [math.log(share) for share in softmax(logits)]
        total -= (1 - smoothing) * weights[label] * logs[label]
        total -= smoothing / len(logs) * sum(weight * log for weight, log in zip(weights, logs, strict=True))
        mass += weights[label]
    return total / mass if mass else 0.0


def ohem(pixels: Pixels, labels: Labels, threshold: float, min_kept: int) -> float:
    shares = sorted(softmax(x)[label] for x, label in zip(pixels, labels, strict=True) if label is not None)
    kept = [share for i, share in enumerate(shares) if share < threshold or i < min_kept]
    return -sum(math.log(share) for share in kept) / len(kept) if kept else 0.0


def dice(pixels: Pixels, labels: Labels) -> float:
    shares = [(softmax(x), label) for x, label in zip(pixels, labels, strict=True) if label is not None]
    losses = []
    for c in sorted({label for _, label in shares}):
        overlap = sum(share[c] for share, label in shares if label == c)
        mass = sum(share[c] for share, _ in shares) + sum(label == c for _, label in shares)
        losses.append(1 - 2 * overlap / mass)
    return sum(losses) / len(losses) if losses else 0.0


def lovasz(pixels: Pixels, labels: Labels) -> float:
    """By the definition of the Lovasz extension: the Jaccard loss of each set of the largest errors."""
    shares = [(softmax(x), label) for x, label in zip(pixels, labels, strict=True) if label is not None]
    losses = []
    for c in sorted({label for _, label in shares}):
        truth = {i for i, (_, label) in enumerate(shares) if label == c}
        errors = [abs((i in truth) - share[c]) for i, (share, _) in enumerate(shares)]
        order = sorted(range(len(shares)), key=lambda i: -errors[i])
        loss = before = 0.0
        for count, i in enumerate(order, start=1):
            wrong = set(order[:count])
            predicted = (truth - wrong) | (wrong - truth)
            jaccard = 1 - len(truth & predicted) / len(truth | predicted)
            loss, before = loss + errors[i] * (jaccard - before), jaccard
        losses.append(loss)
    return sum(losses) / len(losses) if losses else 0.0


def region_mutual_information(
    probability: np.ndarray, truth: np.ndarray, ignored: np.ndarray, *, radius: int, pool: int, regulariser: float
) -> float:
    """`probability` and `truth` are [b, k, H, W], `ignored` [b, H, W]; window by window, with numpy's covariances."""
    num_images, num_classes, height, width = probability.shape
    losses = []
    for image in range(num_images):
        corners = [
            (row * pool, column * pool)
            for row in range(height // pool - radius + 1)
            for column in range(width // pool - radius + 1)
        ]
        side = radius * pool
        free = [(r, c) for r, c in corners if not ignored[image, r : r + side, c : c + side].any()]
        for kind in range(num_classes):
            if not any(truth[image, kind, r : r + side, c : c + side].any() for r, c in free):
                continue
            vectors = [
                np.array([cells(maps[image, kind, r : r + side, c : c + side], radius) for r, c in free])
                for maps in (truth, probability)
            ]
            joint = np.cov(np.concatenate(vectors, axis=1).T, bias=True)
            size = radius * radius
            ridge = regulariser * np.eye(size)
            crossed = joint[:size, size:]
            rest = joint[:size, :size] - crossed @ np.linalg.inv(joint[size:, size:] + ridge) @ crossed.T + ridge
            losses.append((np.linalg.slogdet(rest)[1] - size * math.log(regulariser)) / (2 * size))
    return sum(losses) / len(losses) if losses else 0.0


def cells(window: np.ndarray, radius: int) -> list[float]:
    pool = window.shape[0] // radius
    return [
        float(window[r * pool : (r + 1) * pool, c * pool : (c + 1) * pool].mean())
        for r in range(radius)
        for c in range(radius)
    ]
