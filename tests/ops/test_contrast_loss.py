"""Laws of Eq. 3 that every implementation obeys."""

import inspect
import math
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pixelcontrast.ops import pixel_contrast_loss
from reference.contrast import pixel_contrast_by_loops

IMPLEMENTATIONS = ("dense", "streaming")
each_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)


@dataclass
class Problem:
    anchors: Tensor
    anchor_labels: Tensor
    keys: Tensor
    key_labels: Tensor
    own_key: Tensor | None = None

    def loss(self, implementation: str = "dense", **options: object) -> Tensor:
        return pixel_contrast_loss(
            self.anchors, self.anchor_labels, self.keys, self.key_labels,
            own_key=self.own_key, implementation=implementation, **options,
        )  # fmt: skip


def problem(n: int = 12, m: int = 40, d: int = 6, num_classes: int = 3, dtype: torch.dtype = torch.float64) -> Problem:
    def labels(rows: int) -> Tensor:
        return torch.randint(-1, num_classes, (rows,))

    def embeddings(rows: int) -> Tensor:
        return F.normalize(torch.randn(rows, d, dtype=dtype), dim=1)

    return Problem(embeddings(n), labels(n), embeddings(m), labels(m))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**31),
    st.integers(1, 7),
    st.integers(0, 20),
    st.integers(1, 4),
    st.sampled_from([0.05, 0.1, 1.0]),
    st.booleans(),
)
def test_equals_its_loop_twin(seed: int, n: int, m: int, num_classes: int, temperature: float, own: bool) -> None:
    torch.manual_seed(seed)
    case = problem(n, m, 3, num_classes)
    case.own_key = torch.randint(-1, m, (n,)) if own and m else None
    rows = None if case.own_key is None else case.own_key.tolist()
    expected = pixel_contrast_by_loops(
        case.anchors.tolist(), case.anchor_labels.tolist(), case.keys.tolist(), case.key_labels.tolist(),
        temperature, rows,
    )  # fmt: skip
    for implementation in IMPLEMENTATIONS:
        got = case.loss(implementation, temperature=temperature).item()
        assert got == pytest.approx(expected, rel=1e-9, abs=1e-12)


@each_implementation
def test_order_of_rows_and_names_of_classes_do_not_matter(implementation: str) -> None:
    case = problem()
    loss = case.loss(implementation)
    anchors, keys = torch.randperm(12), torch.randperm(40)
    renamed = torch.tensor([7, 2, 90, -1])  # label -1 picks the last
    other = Problem(
        case.anchors[anchors], renamed[case.anchor_labels[anchors]], case.keys[keys], renamed[case.key_labels[keys]]
    )
    assert torch.isclose(other.loss(implementation), loss)


@each_implementation
def test_a_rotation_of_all_embeddings_does_not_matter(implementation: str) -> None:
    case = problem()
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))
    turned = Problem(case.anchors @ rotation, case.anchor_labels, case.keys @ rotation, case.key_labels)
    assert torch.isclose(turned.loss(implementation), case.loss(implementation))


@each_implementation
def test_absent_rows_have_no_influence_whatever_they_hold(implementation: str) -> None:
    case = problem()
    absent = torch.tensor([-1, -100])
    junk = torch.full((2, 6), torch.nan, dtype=torch.float64)
    padded = Problem(
        torch.cat([junk, case.anchors]).requires_grad_(), torch.cat([absent, case.anchor_labels]),
        torch.cat([case.keys, junk]).requires_grad_(), torch.cat([case.key_labels, absent]),
    )  # fmt: skip
    loss = padded.loss(implementation)
    loss.backward()
    assert torch.isclose(loss, case.loss(implementation))
    assert (padded.anchors.grad[:2] == 0).all()
    assert (padded.keys.grad[-2:] == 0).all()
    assert padded.anchors.grad.isfinite().all()
    assert padded.keys.grad.isfinite().all()


@each_implementation
def test_own_key_is_the_same_as_leaving_the_pair_out(implementation: str) -> None:
    case = problem()
    case.own_key = torch.randint(-1, 40, (12,))
    exclude = F.one_hot(case.own_key.clamp(min=0), 40).bool() & (case.own_key >= 0)[:, None]
    left_out = pixel_contrast_loss(case.anchors, case.anchor_labels, case.keys, case.key_labels, exclude=exclude)
    assert torch.isclose(case.loss(implementation), left_out)


@each_implementation
def test_other_positives_are_not_in_the_denominator(implementation: str) -> None:
    """Unlike SupCon: a copy of an anchor's only positive changes nothing."""
    anchor, keys = torch.eye(3)[:1], torch.eye(3)
    once = pixel_contrast_loss(
        anchor, torch.tensor([0]), keys, torch.tensor([0, 1, 1]), implementation=implementation
    )  # fmt: skip
    twice = pixel_contrast_loss(
        anchor, torch.tensor([0]), keys[[0, 0, 1, 2]], torch.tensor([0, 0, 1, 1]), implementation=implementation
    )
    assert torch.isclose(once, twice)
    assert torch.isclose(once, torch.log1p(2 * torch.exp(torch.tensor(-10.0))), rtol=1e-4)


@each_implementation
def test_chance_level_and_floor(implementation: str) -> None:
    labels = torch.arange(4).repeat_interleave(5)
    same = torch.ones(20, 3) / math.sqrt(3)
    chance = pixel_contrast_loss(same, labels, same, labels, implementation=implementation)
    assert chance.item() == pytest.approx(math.log(1 + 15), rel=1e-5)
    simplex = F.normalize(torch.eye(4, dtype=torch.float64) - 1 / 4, dim=1)[labels]
    floor = pixel_contrast_loss(simplex, labels, simplex, labels, temperature=0.5, implementation=implementation)
    assert floor.item() == pytest.approx(math.log(1 + 15 * math.exp(-(1 + 1 / 3) / 0.5)), rel=1e-9)


EMPTY = {
    "no anchor": Problem(torch.ones(0, 2), torch.zeros(0).long(), torch.ones(3, 2), torch.zeros(3).long()),
    "no key": Problem(torch.ones(3, 2), torch.zeros(3).long(), torch.ones(0, 2), torch.zeros(0).long()),
    "all absent": Problem(torch.ones(3, 2), torch.full((3,), -1), torch.ones(3, 2), torch.full((3,), -1)),
    "no positive": Problem(torch.ones(3, 2), torch.zeros(3).long(), torch.ones(3, 2), torch.ones(3).long()),
    "one class": Problem(torch.ones(3, 2), torch.zeros(3).long(), torch.ones(3, 2), torch.zeros(3).long()),
}


@each_implementation
@pytest.mark.parametrize("name", EMPTY)
def test_empty_cases_are_a_zero_with_a_finite_gradient(name: str, implementation: str) -> None:
    case = EMPTY[name]
    anchors, keys = case.anchors.clone().requires_grad_(), case.keys.clone().requires_grad_()
    loss = pixel_contrast_loss(anchors, case.anchor_labels, keys, case.key_labels, implementation=implementation)
    loss.backward()
    assert loss.item() == 0
    assert (anchors.grad == 0).all()
    assert (keys.grad == 0).all()


@each_implementation
def test_an_anchor_without_positives_leaves_the_mean_and_one_without_negatives_counts_as_zero(
    implementation: str,
) -> None:
    keys, labels = torch.eye(2), torch.tensor([0, 1])
    options = {"temperature": 1.0, "implementation": implementation}
    one = pixel_contrast_loss(keys[:1], labels[:1], keys, labels, **options)
    without_positive = pixel_contrast_loss(keys, torch.tensor([0, 5]), keys, labels, **options)
    assert torch.isclose(one, without_positive)
    alone = pixel_contrast_loss(keys[:1], labels[:1], keys[:1], labels[:1], **options)
    assert alone.item() == 0


@each_implementation
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_extreme_values_are_finite_and_right(implementation: str, dtype: torch.dtype, temperature: float) -> None:
    labels = torch.arange(2).repeat_interleave(3)
    separated = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=dtype)[labels]
    swapped = -separated
    for keys, expected in ((separated, 0.0), (swapped, 2 / temperature + math.log(3))):
        anchors = separated.clone().requires_grad_()
        loss = pixel_contrast_loss(
            anchors, labels, keys, labels, temperature=temperature, implementation=implementation
        )  # fmt: skip
        loss.backward()
        assert loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-8)
        assert anchors.grad.isfinite().all()
        assert anchors.grad.dtype == dtype


@each_implementation
def test_autocast_changes_nothing(implementation: str) -> None:
    case = problem(dtype=torch.float32)
    inputs = (case.anchors.requires_grad_(), case.keys.requires_grad_())
    plain = case.loss(implementation)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = case.loss(implementation)
    assert mixed.dtype == torch.float32
    assert mixed.item() == plain.item()
    for got, expected in zip(torch.autograd.grad(mixed, inputs), torch.autograd.grad(plain, inputs), strict=True):
        assert torch.equal(got, expected)


def test_gradient_and_its_gradient_equal_finite_differences() -> None:
    case = problem(5, 9, 3, 2)
    inputs = (case.anchors.requires_grad_(), case.keys.requires_grad_(), torch.tensor(0.4, dtype=torch.float64))
    inputs[2].requires_grad_()

    def loss(anchors: Tensor, keys: Tensor, temperature: Tensor) -> Tensor:
        return pixel_contrast_loss(
            anchors, case.anchor_labels, keys, case.key_labels, temperature=temperature, implementation="dense"
        )

    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


def test_mistakes_are_named() -> None:
    case = problem()
    check = inspect.unwrap(pixel_contrast_loss)  # run-time type checks would be first
    rows = (case.anchors, case.anchor_labels, case.keys, case.key_labels)
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        case.loss(temperature=0.0)
    with pytest.raises(ValueError, match=r"exclude must be .* = \[12, 40\], got \[12, 39\]"):
        check(*rows, exclude=torch.zeros(12, 39, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"exclude must be bool .*, got \[12, 40\] of torch.float32"):
        check(*rows, exclude=torch.zeros(12, 40))
    with pytest.raises(ValueError, match='exclude needs implementation="dense"'):
        case.loss("streaming", exclude=torch.zeros(12, 40, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"own_key must have one row an anchor, \[12\], got \[11\]"):
        check(*rows, own_key=torch.zeros(11, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"implementation must be one of auto, .*, got \"dnese\""):
        check(*rows, implementation="dnese")
    with pytest.raises(ValueError, match=r"anchor_labels must have one entry an anchor, \[12\], got \[1\]"):
        check(case.anchors, case.anchor_labels[:1], case.keys, case.key_labels)
    with pytest.raises(ValueError, match=r"labels of keys must have one entry a key, \[40\], got \[20\]"):
        check(case.anchors, case.anchor_labels, case.keys, case.key_labels[:20])
    with pytest.raises(ValueError, match="keys must have the length of the anchors, 6, got 5"):
        check(case.anchors, case.anchor_labels, case.keys[:, :5], case.key_labels)
    with pytest.raises(ValueError, match=r"anchors must be rows \[n, d\], one a pixel, got \[2, 6, 3, 3\]"):
        check(torch.zeros(2, 6, 3, 3), torch.zeros(2, dtype=torch.int64), case.keys, case.key_labels)
    with pytest.raises(ValueError, match=r"keys must be rows \[n, d\], one a pixel, got \[6\]"):
        check(case.anchors, case.anchor_labels, case.keys[0], case.key_labels[:6])
