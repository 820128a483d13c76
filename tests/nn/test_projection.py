"""Laws of the projection head."""

import pytest
import torch

from pixelcontrast.nn.projection import ProjectionHead


@pytest.mark.parametrize("grid", [(12,), (3, 4), (2, 3, 2)])
def test_rows_and_maps_agree_pixel_by_pixel(grid: tuple[int, ...]) -> None:
    head = ProjectionHead(6, 4)
    features = torch.randn(2, 6, *grid)
    dense = head(features)
    rows = head(features.flatten(2).transpose(1, 2).flatten(0, 1))
    assert dense.shape == (2, 4, *grid)
    torch.testing.assert_close(dense.flatten(2).transpose(1, 2).flatten(0, 1), rows)


def test_embeddings_have_unit_length_in_float32() -> None:
    head = ProjectionHead(6, 4).bfloat16()
    embeddings = head(torch.randn(2, 6, 5, 5))
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2, 5, 5))


def test_under_autocast_only_the_products_are_lowered() -> None:
    head = ProjectionHead(6, 4)
    features = torch.randn(2, 6, 5, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = head(features.bfloat16())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, head(features), atol=0.05, rtol=0.05)


def test_gradients_reach_every_parameter() -> None:
    head = ProjectionHead(6, 4, norm="batch")
    head(torch.randn(2, 6, 5, 5)).square().sum(dim=(0, 2, 3))[0].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())


def test_batch_norm_uses_the_statistics_of_the_batch() -> None:
    head = ProjectionHead(6, 4, norm="batch")
    features = torch.randn(2, 6, 5, 5)
    torch.testing.assert_close(head(features), head(10 * features + 3), atol=1e-2, rtol=1e-2)


def test_channels_last_gives_the_same() -> None:
    head = ProjectionHead(6, 4)
    features = torch.randn(2, 6, 5, 5)
    torch.testing.assert_close(head(features.to(memory_format=torch.channels_last)), head(features))


def test_wrong_channels_are_named() -> None:
    with pytest.raises(ValueError, match="in_channels"):
        ProjectionHead(6, 4)(torch.randn(2, 5, 3, 3))


def test_it_is_two_layers_with_a_relu_between() -> None:
    head = ProjectionHead(6, 4)
    rows = torch.randn(9, 6)
    hidden = torch.relu(rows @ head.hidden.weight.T + head.hidden.bias)
    expected = hidden @ head.out.weight.T + head.out.bias
    torch.testing.assert_close(head(rows), expected / expected.norm(dim=1, keepdim=True))


def test_a_trained_head_gives_loose_rows_what_it_gives_the_map() -> None:
    for norm in ("none", "batch"):
        head = ProjectionHead(6, 4, norm=norm)
        features = torch.randn(2, 6, 5, 5)
        head(features)  # statistics of its own
        head.eval()
        rows = features.flatten(2).transpose(1, 2).flatten(0, 1)
        expected = head(features).flatten(2).transpose(1, 2).flatten(0, 1)
        torch.testing.assert_close(head(rows), expected)
