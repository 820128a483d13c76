import pytest
import torch

from pixelcontrast.engine.options import SGD, AdamW, Constant, Cosine, Poly
from pixelcontrast.engine.schedules import build_optimizer, learning_rate_factor

SCHEDULES = [Poly(), Cosine(), Constant(), Poly(warmup_steps=5), Cosine(warmup_steps=5, final_factor=0.1)]


def test_poly_is_the_papers_formula() -> None:
    factor = learning_rate_factor(Poly(power=0.9), 100)
    assert factor(0) == 1
    assert factor(50) == pytest.approx(0.5**0.9)
    assert factor(100) == 0


def test_cosine_ends_at_its_final_factor() -> None:
    assert learning_rate_factor(Cosine(final_factor=0.1), 10)(10) == pytest.approx(0.1)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_factor_stays_between_zero_and_one_and_warms_up(schedule: Poly | Cosine | Constant) -> None:
    values = [learning_rate_factor(schedule, 40)(step) for step in range(45)]
    assert all(0 <= value <= 1 for value in values)
    warmup = values[: schedule.warmup_steps + 1]
    assert warmup == sorted(warmup)


def test_head_learns_at_its_own_rate() -> None:
    backbone, head = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    for options in (SGD(lr=0.1, head_lr_factor=10), AdamW(lr=0.1, head_lr_factor=10)):
        groups = build_optimizer(options, backbone=[backbone], head=[head]).param_groups
        assert [group["lr"] for group in groups] == [0.1, 1.0]
