"""Which keys an anchor is compared with: the rule, by sorting, and what a draw must satisfy."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pixelcontrast.ops import contrast_key_sets, mine_keys, mined, mining, pixel_contrast_loss
from pixelcontrast.ops.cpu_selection import top
from pixelcontrast.ops.selection import Mined, Rule, _hardest, mine_anywhere
from pixelcontrast.types import PixelSet
from reference.mining import pools_by_loops

MININGS = ("semi_hard", "hardest", "random")


def unit(rows: int, d: int = 8, dtype: torch.dtype = torch.float64) -> Tensor:
    return F.normalize(torch.randn(rows, d, dtype=dtype), dim=1)


@settings(deadline=None, max_examples=80)
@given(
    st.integers(0, 2**31),
    st.integers(1, 6),
    st.integers(0, 120),
    st.integers(1, 4),
    st.sampled_from(MININGS),
    st.tuples(st.integers(1, 9), st.integers(0, 12)),
    st.booleans(),
)
def test_choice_obeys_the_rule_by_sorting(
    seed: int, n: int, m: int, num_classes: int, rule: str, limits: tuple[int, int], own: bool
) -> None:
    """Small whole numbers, so that many similarities are equal and all are exact."""
    torch.manual_seed(seed)
    anchors, keys = torch.randint(-2, 3, (n, 3)).float(), torch.randint(-2, 3, (m, 3)).float()
    labels, key_labels = torch.randint(-1, num_classes, (n,)), torch.randint(-1, num_classes, (m,))
    own_key = torch.randint(-1, m, (n,)) if own and m else None
    chosen = mine_keys(
        anchors, labels, keys, key_labels, mining=rule, positives_per_anchor=limits[0],
        negatives_per_anchor=limits[1], own_key=own_key, seed=seed,
    )  # fmt: skip
    assert [part.shape[1] for part in chosen] == [min(limit, m) for limit in limits]
    expected = pools_by_loops(
        (anchors @ keys.T).tolist(), labels.tolist(), key_labels.tolist(), rule, limits,
        None if own_key is None else own_key.tolist(),
    )  # fmt: skip
    for i, pools in enumerate(expected):
        for part, pool in zip(chosen, pools, strict=True):
            rows = part[i].tolist()
            assert rows == [*sorted(rows[: pool.count]), *[-1] * (len(rows) - pool.count)]
            assert len(set(rows[: pool.count])) == pool.count
            assert set(rows[: pool.count]) <= set(pool.pool)


@pytest.mark.parametrize("rule", MININGS)
def test_the_cpu_chooses_what_any_device_chooses(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With enough keys for thresholds by sampling, and many equal similarities."""
    m = 40_000
    anchors, keys = torch.randint(-3, 4, (6, 4)).float(), torch.randint(-3, 4, (m, 4)).float()
    labels, key_labels = torch.tensor([0, 1, 2, -1, 0, 1]), torch.randint(-1, 2, (m,))
    arguments = (anchors, labels, keys, key_labels)
    options = {"mining": rule, "own_key": torch.tensor([5, -1, 7, 9, 11, m - 1]), "seed": 3}
    fast = mine_keys(*arguments, **options)
    monkeypatch.setattr(mining, "mine_on_cpu", mine_anywhere)
    plain = mine_keys(*arguments, **options)
    assert torch.equal(fast[0], plain[0])
    assert torch.equal(fast[1], plain[1])


@pytest.mark.parametrize("rule", MININGS)
@pytest.mark.parametrize("m", [0, 1, 7, 30])
def test_the_cpu_chooses_what_any_device_chooses_of_few_keys(
    rule: str, m: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer than the limits, and pools smaller still."""
    anchors, keys = torch.randint(-2, 3, (5, 3)).float(), torch.randint(-2, 3, (m, 3)).float()
    arguments = (anchors, torch.tensor([0, 1, 2, -1, 0]), keys, torch.randint(-1, 3, (m,)))
    options = {"mining": rule, "positives_per_anchor": 4, "negatives_per_anchor": 9, "seed": 3}
    fast = mine_keys(*arguments, **options)
    monkeypatch.setattr(mining, "mine_on_cpu", mine_anywhere)
    plain = mine_keys(*arguments, **options)
    assert torch.equal(fast[0], plain[0])
    assert torch.equal(fast[1], plain[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_hardest_come_as_a_stable_sort_has_them(dtype: torch.dtype) -> None:
    odd = [torch.nan, -torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, 3e38, -3e38]
    hardness = torch.tensor(odd, dtype=dtype)[torch.randint(0, len(odd), (20, 300))]
    expected = hardness.sort(dim=1, descending=True, stable=True).indices
    assert torch.equal(_hardest(hardness, 300), expected)
    assert torch.equal(_hardest(hardness, 70), expected[:, :70])


@given(st.integers(0, 2**31), st.integers(0, 60), st.integers(0, 70))
def test_top_is_the_highest_values_the_first_of_equal_ones(seed: int, size: int, count: int) -> None:
    torch.manual_seed(seed)
    values = torch.randint(0, 9, (size,)).float()
    expected = sorted(sorted(range(size), key=lambda i: (-values[i].item(), i))[:count])
    assert top(torch.stack([values, -values]), min(count, size))[0].tolist() == expected


@pytest.mark.parametrize("kind", ["random", "ascending", "descending", "equal", "two values", "outside the sample"])
def test_top_is_exact_where_a_sample_gives_the_threshold(kind: str) -> None:
    size, count = 50_000, 4_000
    values = {
        "random": torch.randn(size),
        "ascending": torch.arange(size).float(),
        "descending": -torch.arange(size).float(),
        "equal": torch.zeros(size),
        "two values": (torch.arange(size) % 7 == 0).float(),
        "outside the sample": (torch.arange(size) % 12 > 0) * torch.arange(size).float(),
    }[kind]
    assert torch.equal(
        top(values[None], count)[0], values.sort(descending=True, stable=True).indices[:count].sort().values
    )


def draw(seed: int | Tensor, rows: int = 400, take: int = 5, n: int = 1) -> Tensor:
    """Negatives out of a pool of a tenth of `rows`."""
    anchors, keys = torch.ones(n, 2), torch.ones(rows, 2)
    labels, key_labels = torch.zeros(n, dtype=torch.int64), torch.ones(rows, dtype=torch.int64)
    return mine_keys(anchors, labels, keys, key_labels, negatives_per_anchor=take, seed=seed)[1]


def test_a_draw_is_a_function_of_its_seed() -> None:
    assert torch.equal(draw(7), draw(7))
    assert not torch.equal(draw(7), draw(8))
    assert torch.equal(draw(torch.tensor(7)), draw(torch.tensor(7)))


def test_draws_are_uniform_over_the_pool() -> None:
    """Chi-square of 3000 draws of 5 out of 40; its mean is 39 less a little, its standard deviation below 9."""
    counts = torch.cat([draw(seed, n=300) for seed in range(10)]).flatten().bincount(minlength=400)
    assert counts[40:].sum() == 0
    expected = 3000 * 5 / 40
    assert 10 < ((counts[:40] - expected) ** 2 / expected).sum() < 39 + 5 * 9


def test_anchors_draw_independently_of_each_other() -> None:
    """Two anchors with one pool of 200 share as many of their 40 as chance has it: 8, give or take."""
    member = torch.zeros(300, 2000).scatter(1, draw(3, rows=2000, take=40, n=300), 1)
    shared = (member @ member.T)[~torch.eye(300, dtype=torch.bool)]
    assert abs(shared.mean() - 8) < 0.1
    # hypergeometric: 40 x 0.2 x 0.8 x 160 / 199
    assert abs(shared.var() - 5.146) < 0.3
    assert shared.max() < 25


@pytest.mark.parametrize("rule", MININGS)
def test_an_anchor_never_gets_its_own_key(rule: str) -> None:
    anchors, labels = unit(60), torch.randint(0, 3, (60,))
    chosen = mine_keys(anchors, labels, anchors, labels, mining=rule, own_key=torch.arange(60))
    for part in chosen:
        assert not (part == torch.arange(60)[:, None]).any()


@pytest.mark.parametrize("rule", MININGS)
@pytest.mark.parametrize("path", ["cpu", "any device"])
def test_loss_and_gradient_equal_eq_3_over_the_mined_keys(
    rule: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == "any device":
        monkeypatch.setattr(mined, "mine_on_cpu", mine_anywhere)
        monkeypatch.setattr(mined, "add_rows_on_cpu", mined._add_rows)
    n, sizes = 15, (30, 600)  # with 13 keys an anchor, a CPU reads only those
    anchors, batch = unit(n).requires_grad_(), unit(sizes[0]).requires_grad_()
    memory = unit(sizes[1])
    labels, batch_labels, memory_labels = (torch.randint(-1, 3, (rows,)) for rows in (n, *sizes))
    own_key = torch.randint(-1, sum(sizes), (n,))
    limits = {"positives_per_anchor": 5, "negatives_per_anchor": 8, "seed": 11, "own_key": own_key, "mining": rule}
    loss = contrast_key_sets(
        anchors, labels, PixelSet(batch, batch_labels), PixelSet(memory, memory_labels), temperature=0.2, **limits
    )
    keys, key_labels = torch.cat([batch, memory]), torch.cat([batch_labels, memory_labels])
    chosen = torch.cat(mine_keys(anchors, labels, keys, key_labels, **limits), dim=1)
    exclude = F.one_hot(chosen + 1, len(keys) + 1).sum(dim=1)[:, 1:] == 0
    expected = pixel_contrast_loss(anchors, labels, keys, key_labels, temperature=0.2, exclude=exclude)
    torch.testing.assert_close(loss, expected)
    gradients = torch.autograd.grad(loss, (anchors, batch)), torch.autograd.grad(expected, (anchors, batch))
    for got, want in zip(*gradients, strict=True):
        torch.testing.assert_close(got, want, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("rule", [*MININGS, "all"])
def test_absent_rows_have_no_influence_whatever_they_hold(rule: str) -> None:
    gradients = []
    for junk in (0.0, torch.nan):
        torch.manual_seed(1)
        sets = []
        for rows in (12, 30, 400):
            labels = torch.randint(-1, 3, (rows,))
            sets.append(PixelSet(unit(rows).masked_fill((labels < 0)[:, None], junk), labels))
        anchors, batch = sets[0].embeddings.requires_grad_(), sets[1].embeddings.requires_grad_()
        temperature = torch.tensor(0.1, requires_grad=True)
        loss = contrast_key_sets(
            anchors, sets[0].labels, sets[1], sets[2], mining=rule, temperature=temperature, negatives_per_anchor=9
        )
        gradients.append(torch.autograd.grad(loss, (anchors, batch, temperature)))
    for clean, other in zip(*gradients, strict=True):
        assert torch.equal(clean, other)


@pytest.mark.parametrize("rule", MININGS)
@pytest.mark.parametrize("where", ["anchors", "batch", "memory"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_shows_in_the_loss(rule: str, where: str, bad: float) -> None:
    rows = {name: unit(count) for name, count in (("anchors", 4), ("batch", 20), ("memory", 100))}
    rows[where][2] = bad
    labels = {name: torch.arange(each.shape[0]) % 2 for name, each in rows.items()}
    batch, memory = (PixelSet(rows[name], labels[name]) for name in ("batch", "memory"))
    loss = contrast_key_sets(
        rows["anchors"], labels["anchors"], batch, memory, mining=rule, positives_per_anchor=60,
        negatives_per_anchor=60,
    )  # fmt: skip
    assert not loss.isfinite()


@pytest.mark.parametrize("rule", MININGS)
def test_the_cpu_chooses_what_any_device_chooses_of_keys_that_are_not_finite(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = unit(100).index_fill(0, torch.tensor([3, 40]), torch.nan)
    arguments = (unit(4), torch.tensor([0, 1, -1, -(1 << 62)]), keys, torch.arange(100) % 2)
    options = {"mining": rule, "positives_per_anchor": 5, "negatives_per_anchor": 5}
    chosen = mine_keys(*arguments, **options)
    monkeypatch.setattr(mining, "mine_on_cpu", mine_anywhere)
    assert all(torch.equal(*pair) for pair in zip(chosen, mine_keys(*arguments, **options), strict=True))


def test_any_negative_label_is_an_anchor_that_is_not_there() -> None:
    positives, negatives = mine_keys(unit(2), torch.tensor([0, -(1 << 62)]), unit(9), torch.arange(9) % 2)
    assert (positives[1] == -1).all()
    assert (negatives[1] == -1).all()


def test_weights_are_finite_where_there_is_no_negative() -> None:
    none = torch.full((1, 2), -1)
    similarity = torch.zeros(1, 2)
    part = Mined(slice(0, 1), torch.zeros_like(none), none, similarity, similarity)
    losses, weights = mined._weigh(part, torch.ones(()))
    assert losses.tolist() == [0]
    assert (weights == 0).all()


def test_autocast_changes_nothing() -> None:
    anchors, labels = unit(20, dtype=torch.float32).requires_grad_(), torch.randint(0, 3, (20,))
    memory = PixelSet(unit(300, dtype=torch.float32), torch.randint(0, 3, (300,)))
    results = []
    for mixed in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            loss = contrast_key_sets(anchors, labels, PixelSet(anchors, labels), memory, negatives_per_anchor=9)
            rows = mine_keys(anchors, labels, memory.embeddings, memory.labels)[1]
        results.append((loss, rows, torch.autograd.grad(loss, anchors)[0]))
    assert all(torch.equal(got, expected) for got, expected in zip(*results, strict=True))


def test_with_room_for_all_keys_mining_changes_nothing() -> None:
    anchors, labels, keys, key_labels = unit(10), torch.randint(0, 3, (10,)), unit(50), torch.randint(-1, 3, (50,))
    plain = pixel_contrast_loss(anchors, labels, keys, key_labels)
    for rule, share in (("random", 0.1), ("hardest", 0.1), ("semi_hard", 1.0)):
        other = contrast_key_sets(anchors, labels, None, PixelSet(keys, key_labels), mining=rule, pool_share=share)
        torch.testing.assert_close(other, plain)


@pytest.mark.parametrize("rule", MININGS)
@pytest.mark.parametrize(("anchor_label", "key_label"), [(-1, 0), (0, -1), (0, 0), (0, 1)])
def test_empty_cases_are_finite(rule: str, anchor_label: int, key_label: int) -> None:
    anchors = unit(4).requires_grad_()
    memory = PixelSet(torch.full((5, 8), torch.nan) if key_label < 0 else unit(5), torch.full((5,), key_label))
    loss = contrast_key_sets(anchors, torch.full((4,), anchor_label), None, memory, mining=rule)
    loss.backward()
    assert loss.item() == 0
    assert (anchors.grad == 0).all()
    nothing = contrast_key_sets(anchors, torch.zeros(4).long(), None, None, mining=rule)
    assert nothing.item() == 0


def test_the_pool_is_counted_in_whole_numbers() -> None:
    """0.1 x 30 is above 3 in floating point."""
    rule = Rule("semi_hard", 1, 1, 0.1)
    assert [rule.pool(valid) for valid in (0, 1, 10, 11, 30, 190_000)] == [0, 1, 1, 2, 3, 19_000]
    assert rule.pool(torch.tensor([30, 31])).tolist() == [3, 4]
    assert Rule("semi_hard", 1, 1, 1e-9).pool(190_000) == 1


def test_mistakes_are_named() -> None:
    rows = (torch.ones(2, 2), torch.zeros(2).long(), torch.ones(3, 2), torch.zeros(3).long())
    check = inspect.unwrap(mine_keys)  # run-time type checks would be first
    with pytest.raises(ValueError, match='mining must be "semi_hard", "hardest" or "random", got "harder"'):
        check(*rows, mining="harder")
    with pytest.raises(ValueError, match="got positives_per_anchor=0"):
        mine_keys(*rows, positives_per_anchor=0)
    with pytest.raises(ValueError, match=r"pool_share must be above 0 and at most 1, got 0\.0"):
        mine_keys(*rows, pool_share=0.0)
    with pytest.raises(ValueError, match=r"own_key must have one row an anchor, \[2\], got \[3\]"):
        check(*rows, own_key=torch.zeros(3).long())
