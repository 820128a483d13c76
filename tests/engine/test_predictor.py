"""Every protocol is the loop it is said to be."""

import math

import pytest
import torch

from pixelcontrast.engine.predictor import evaluating, predict, strips_of
from pixelcontrast.engine.protocol import STANDARD_SCALES, EvaluationOptions
from pixelcontrast.nn.heads import FCN
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor
from reference.protocols import probabilities_of

WHOLE = EvaluationOptions()
MULTI_SCALE = EvaluationOptions(scales=STANDARD_SCALES, flip=True)
WINDOWS = EvaluationOptions(window=(12, 16), overlap=0.5)
BOTH = EvaluationOptions(scales=(0.75, 1.0), flip=True, window=(16, 16), overlap=0.25)
STEPS = {WINDOWS: (6, 8), BOTH: (12, 12)}
HEIGHT, WIDTH = 21, 34


@pytest.fixture(scope="module")
def segmentor() -> Segmentor:
    torch.manual_seed(0)
    return Segmentor(ModelOptions(backbone="test_resnet", head=FCN()), 4).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("options", [WHOLE, MULTI_SCALE, WINDOWS, BOTH], ids=lambda o: o.name or "whole")
def test_a_protocol_equals_its_loop_twin(
    segmentor: Segmentor, images: torch.Tensor, options: EvaluationOptions
) -> None:
    with evaluating(segmentor):
        strips = [(strip.top, strip.probabilities.clone()) for strip in strips_of(segmentor, images, options)]
        found = predict(segmentor, images, options)
        for i, image in enumerate(images):
            expected = probabilities_of(
                lambda part: segmentor(part).logits, image, scales=options.scales, flip=options.flip,
                window=options.window, step=STEPS.get(options, (1, 1)),
            )  # fmt: skip
            got = torch.cat([rows[i] for _, rows in strips], dim=1)
            assert torch.allclose(got.double(), expected.double(), atol=1e-5)
            clear = expected.topk(2, dim=0).values.diff(dim=0)[0].abs() > 1e-5
            assert clear.float().mean() > 0.9
            assert torch.equal(found.labels[i][clear], expected.argmax(0)[clear])
            assert torch.allclose(found.confidence[i].double(), expected.amax(0).double(), atol=1e-5)
    assert [top for top, _ in strips] == sorted({top for top, _ in strips})


def test_windows_as_large_as_the_image_are_the_whole_image(segmentor: Segmentor, images: torch.Tensor) -> None:
    with evaluating(segmentor):
        whole, windows = (
            predict(segmentor, images, each) for each in (WHOLE, EvaluationOptions(window=(HEIGHT, 2 * WIDTH)))
        )
    assert torch.equal(whole.labels, windows.labels)
    assert torch.allclose(whole.confidence, windows.confidence, atol=1e-6)


def test_mirroring_an_image_mirrors_what_is_said_of_it(segmentor: Segmentor, images: torch.Tensor) -> None:
    options = EvaluationOptions(flip=True)
    with evaluating(segmentor):
        one, other = (next(strips_of(segmentor, each, options)).probabilities for each in (images, images.flip(-1)))
    assert torch.allclose(one, other.flip(-1), atol=1e-6)


def test_windows_hold_one_row_of_them_at_a_time(segmentor: Segmentor) -> None:
    tall = torch.randn(1, 3, 200, 32)
    options = EvaluationOptions(window=(16, 32), overlap=0.0)
    with evaluating(segmentor):
        strips = [strip.probabilities.untyped_storage().nbytes() for strip in strips_of(segmentor, tall, options)]
    assert len(strips) == 13
    assert max(strips) == 4 * 4 * 16 * 32


def test_rows_come_as_soon_as_they_are_complete(segmentor: Segmentor) -> None:
    looks: list[object] = []
    hook = segmentor.register_forward_hook(lambda *_: looks.append(None))
    with evaluating(segmentor):
        strips = strips_of(segmentor, torch.randn(1, 3, 200, 32), EvaluationOptions(window=(16, 16), overlap=0.0))
        assert [len(looks) for _ in strips][:3] == [3, 5, 7]  # two windows a row, and the first of the next one
    hook.remove()


def test_a_protocol_is_told_in_words_and_in_a_folders_name() -> None:
    assert WHOLE.words == "single scale, whole image, labels at original size"
    assert WHOLE.name == ""
    assert MULTI_SCALE.words == (
        "scales 0.5, 0.75, 1, 1.25, 1.5, 1.75 and mirrored, whole image, mean of softmax, labels at original size"
    )
    assert BOTH.words == (
        "scales 0.75, 1 and mirrored, windows of 16x16 with 25 % overlap, mean of softmax, labels at original size"
    )
    assert BOTH.name == "scales_0.75_1-flip-window_16x16_overlap_0.25"


@pytest.mark.parametrize(
    "wrong",
    [
        {"scales": ()},
        {"scales": (1.0, 0.0)},
        {"scales": (50.0,)},
        {"scales": (math.nan,)},
        {"window": (0, 4)},
        {"overlap": 1.0},
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EvaluationOptions(**wrong)  # type: ignore[arg-type]


def test_each_module_is_in_its_own_mode_again(segmentor: Segmentor) -> None:
    segmentor.train()
    norm = next(module for module in segmentor.modules() if isinstance(module, torch.nn.BatchNorm2d)).eval()
    with evaluating(segmentor):
        assert not any(module.training for module in segmentor.modules())
    assert [module for module in segmentor.modules() if not module.training] == [norm]
    segmentor.eval()
