"""Laws of `attach`: what it computes, what it leaves alone, and how it lives with training loops."""

import copy
import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from attach_models import CLASSES, Network, batch
from pixelcontrast import AttachedContrast, ContrastOptions, MemoryOptions, PixelContrast, Tap, attach
from pixelcontrast.contrast.candidates import find_candidates

MEMORY = MemoryOptions(pixels_per_class=12, regions_per_class=4, pixels_per_region=3)


def gradients(module: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]


def test_it_is_the_criterion_on_the_tapped_output() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attach(model, at="neck", num_classes=CLASSES, in_channels=12, memory=MEMORY, weight=0.5, seed=3)
    criterion = PixelContrast(12, CLASSES, memory=MEMORY, seed=3)
    criterion.load_state_dict(contrast.criteria[0].state_dict())
    for _ in range(3):
        logits = model(images)
        with contrast.paused():
            expected = 0.5 * criterion(model.neck(model.stem(images)), labels, logits)
        loss = contrast(labels, logits)
        torch.testing.assert_close(loss, expected)
    assert contrast.statistics["loss"] == criterion.statistics["loss"]


def test_gradients_reach_the_tapped_layer_and_what_lies_before_it_only() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attach(model, at="neck", num_classes=CLASSES)
    contrast(labels, model(images)).backward()
    assert all(parameter.grad is not None for parameter in [*model.stem.parameters(), *model.neck.parameters()])
    assert all(parameter.grad is None for parameter in model.head.parameters())


def test_parameters_may_go_to_the_optimiser_before_the_first_forward_pass() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attach(model, at="neck", num_classes=CLASSES, projection_norm="batch")
    before = list(contrast.parameters())
    optimizer = torch.optim.AdamW([*model.parameters(), *before], lr=1e-2)
    optimizer.zero_grad()
    contrast(labels, model(images)).backward()
    drawn = [parameter.detach().clone() for parameter in contrast.parameters()]
    optimizer.step()
    after = list(contrast.parameters())
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert all(not torch.equal(one, other) for one, other in zip(drawn, after, strict=True))
    known = attach(model, at="neck", num_classes=CLASSES, in_channels=12, projection_norm="batch")
    assert [(n, p.shape) for n, p in known.named_parameters()] == [(n, p.shape) for n, p in contrast.named_parameters()]


def test_the_model_is_untouched_and_detach_is_bit_exact() -> None:
    model, (images, labels) = Network(), batch()
    model.eval()
    keys, before, twin = list(model.state_dict()), model(images), copy.deepcopy(model)
    contrast = attach(model, at=["stem", "neck"], num_classes=CLASSES, memory=MEMORY)
    assert list(model.state_dict()) == keys
    assert torch.equal(model(images), before)
    contrast.detach()
    contrast.detach()
    assert torch.equal(model(images), before)
    assert not any(module._forward_hooks for module in model.modules())
    assert [name for name, _ in model.named_modules()] == [name for name, _ in twin.named_modules()]
    with pytest.raises(ValueError, match="detached"):
        contrast(labels, before)


def to_dict(x: Tensor) -> dict[str, Tensor]:
    return {"ids": x[:, 0].long(), "map": x}


class Output(Mapping[str, Tensor]):
    """As Hugging Face's ModelOutput: a mapping with attributes."""

    def __init__(self, x: Tensor) -> None:
        self.last_hidden_state = x

    def __getitem__(self, key: str) -> Tensor:
        value: Tensor = getattr(self, key)
        return value

    def __iter__(self) -> Any:
        return iter(["last_hidden_state"])

    def __len__(self) -> int:
        return 1


@dataclass
class Pair:
    small: Tensor
    feat: Tensor


@pytest.mark.parametrize(
    ("wrap", "options"),
    [
        (lambda x: (x, None), {}),
        (lambda x: Pair(x[:, :1], x), {"pick": "feat"}),
        (lambda x: [x[:, :1], x], {"pick": 1}),
        (lambda x: [x[:, :1], x], {"pick": -1}),
        (to_dict, {}),
        (to_dict, {"pick": "map"}),
        (lambda x: {"levels": (x, x[:, :2])}, {"pick": ("levels", 0)}),
        (Output, {}),
        (Output, {"pick": 0}),
        (lambda x: x.movedim(1, -1), {"layout": "channels_last"}),
        (lambda x: x.flatten(2).transpose(1, 2), {"grid": (4, 6)}),
        (lambda x: torch.cat([x.mean((2, 3))[:, None], x.flatten(2).transpose(1, 2)], 1), {"grid": (4, 6)}),
    ],
)
def test_every_form_of_output_gives_the_same_loss(wrap: Callable[[Tensor], Any], options: dict[str, Any]) -> None:
    model, (images, labels) = Network(wrap), batch()
    torch.manual_seed(0)
    plain = attach(model, at="neck", num_classes=CLASSES, in_channels=12)
    torch.manual_seed(0)
    formed = attach(model, at="shape", num_classes=CLASSES, in_channels=12, **options)
    logits = model(images)
    assert torch.equal(plain(labels, logits), formed(labels, logits))


@pytest.mark.parametrize("size", [(24,), (8, 12), (4, 6, 8)])
def test_sequences_images_and_volumes(size: tuple[int, ...]) -> None:
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(size) - 1]
    model = nn.Sequential(convolution(3, 8, 2, stride=2), convolution(8, CLASSES, 1))
    contrast = attach(model, at="0", num_classes=CLASSES, memory=MEMORY)
    loss = contrast(torch.randint(0, CLASSES, (2, *size)), model(torch.randn(2, 3, *size)))
    loss.backward()
    assert loss > 0
    assert model[0].weight.grad.abs().sum() > 0


def test_two_outputs_of_one_module_have_figures_of_their_own() -> None:
    model, (images, labels) = Network(lambda x: (x, -x)), batch()
    both = attach(model, at=[Tap(module="shape", pick=i) for i in (0, 1)], num_classes=CLASSES)
    total = both(labels, model(images))
    torch.testing.assert_close(total, both.statistics["shape[0]/loss"] + both.statistics["shape[1]/loss"])


def test_several_taps_add_up_with_their_weights_and_memories() -> None:
    model, (images, labels) = Network(), batch()
    model.eval()
    taps = [
        Tap(module="stem", weight=0.25, memory=None),
        Tap(module="neck", in_channels=12),
        Tap(module="head", weight=0),
    ]
    both = attach(model, at=taps, num_classes=CLASSES, memory=MEMORY)
    logits = model(images)
    both(labels, logits)
    memories = [criterion.memory is not None for criterion in both.criteria]
    assert memories == [False, True, True]
    figures = both.statistics
    with both.paused():
        logits = model(images)
    model(images)
    total = both(labels, logits)
    torch.testing.assert_close(total, 0.25 * figures["stem/loss"] + figures["neck/loss"])
    assert both.criteria[0].seed != both.criteria[1].seed


def test_recomputation_under_gradient_checkpointing_is_not_recorded() -> None:
    results = []
    for reentrant in (None, False):
        torch.manual_seed(0)
        model, (images, labels) = Network(reentrant=reentrant), batch()
        contrast = attach(model, at="neck.0", num_classes=CLASSES, in_channels=12, memory=MEMORY)
        for _ in range(2):
            contrast(labels, model(images)).backward()
            assert contrast._recorders[0].live is None
        results.append(gradients(model) + gradients(contrast))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_gradient_accumulation_enqueues_every_micro_batch() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attach(model, at="neck", num_classes=CLASSES, memory=MEMORY)
    for _ in range(3):
        (contrast(labels, model(images)) / 3).backward()
    assert int(contrast.criteria[0].step) == 3
    assert contrast.criteria[0].memory.clock == 3


def test_autocast_gives_a_loss_in_float32() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attach(model, at="neck", num_classes=CLASSES, memory=MEMORY)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
        inside = contrast(labels, logits)
        logits = model(images)
    outside = contrast(labels, logits)
    (inside + outside).backward()
    assert inside.dtype == outside.dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in contrast.parameters())


def test_a_pass_in_eval_mode_with_gradients_leaves_the_pending_training_pass_alone() -> None:
    states, losses = [], []
    for between in (False, True):
        torch.manual_seed(0)
        model, (images, labels) = Network(), batch()
        contrast = attach(model, at="neck", num_classes=CLASSES, in_channels=12, memory=MEMORY)
        logits = model(images)
        if between:
            model.eval()(3 * images)
            model.train()
        losses.append(contrast(labels, logits))
        states.append(contrast.state_dict())
    assert torch.equal(*losses)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    logits = model.eval()(images)
    contrast(labels, logits).backward()  # in eval mode it is the one that is meant
    assert all(parameter.grad is not None for parameter in model.stem.parameters())
    assert contrast.criteria[0].memory.clock == 1


def test_a_validation_between_a_pass_and_its_loss_leaves_the_step_of_a_copy_a_step() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attach(model, at="neck", num_classes=CLASSES, in_channels=12, memory=MEMORY)
    model, contrast = copy.deepcopy((model, contrast))
    logits = model(images)
    with torch.no_grad():
        model.eval()(images)
    model.train()
    contrast(labels, logits)
    assert contrast.criteria[0].memory.clock == 1


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_the_model_feeds_nothing(duplicate: Callable[[nn.Module], nn.Module]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, CLASSES, 1))
    images, labels = batch()
    contrast = attach(model, at="0", num_classes=CLASSES)
    logits = model(images)  # what is recorded has a graph, which cannot be copied
    averaged = duplicate(model)
    averaged(2 * images)
    seen = contrast._recorders[0].live
    contrast(labels, logits)
    averaged(images)
    assert seen is not None
    assert contrast._recorders[0].live is None
    hook = next(iter(averaged[0]._forward_hooks.values()))  # type: ignore[index]
    assert hook.live is None


def test_copies_of_model_and_contrast_together_work_on_their_own() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, CLASSES, 1))
    images, labels = batch()
    pair = nn.ModuleDict({"model": model, "contrast": attach(model, at="0", num_classes=CLASSES, memory=MEMORY)})
    pair["contrast"](labels, model(images))
    for duplicate in (copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))):
        twin = duplicate(pair)
        losses = [each["contrast"](labels, each["model"](images)) for each in (pair, twin)]
        assert torch.equal(*losses)
        pair.load_state_dict(twin.state_dict())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
@pytest.mark.parametrize("contrast_first", [False, True])
def test_a_copy_follows_the_mode_of_the_model_that_was_copied_with_it(
    duplicate: Callable[[Any], Any], contrast_first: bool
) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, CLASSES, 1))
    images, labels = batch()
    contrast = attach(model, at="0", num_classes=CLASSES, memory=MEMORY)
    contrast(labels, model(images))
    if contrast_first:
        twin, network = duplicate((contrast, model))
    else:
        network, twin = duplicate((model, contrast))
    model.eval()
    clocks = []
    for training in (True, False, True):
        network.train(training)
        twin(labels, network(images))
        clocks.append(int(twin.criteria[0].memory.clock))
    assert clocks == [2, 2, 3]


def test_a_first_call_without_gradients_of_any_kind_leaves_contrast_trainable() -> None:
    model, (images, labels) = Network(), batch()
    losses = []
    for mode in (torch.no_grad, torch.inference_mode):
        torch.manual_seed(0)
        contrast = attach(model, at="neck", num_classes=CLASSES, memory=MEMORY)
        model.eval()
        with mode():
            contrast(labels, model(images))
        model.train()
        loss = contrast(labels, model(images))
        loss.backward()
        losses.append(loss.detach())
        contrast.detach()
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("projection", ["dense", "none"])
def test_a_new_one_goes_on_from_the_state_of_another(projection: Any) -> None:
    model, (images, labels) = Network(), batch()
    one = attach(model, at="neck", num_classes=CLASSES, projection=projection)
    one(labels, model(images))
    one.detach()
    other = attach(model, at="neck", num_classes=CLASSES, projection=projection)
    other.load_state_dict(one.state_dict())
    other(labels, model(images))
    assert other.criteria[0].step == 2


def test_without_gradients_the_loss_is_about_the_last_pass() -> None:
    model, (images, labels) = Network().eval(), batch()
    contrast = attach(model, at="neck", num_classes=CLASSES)
    losses = []
    for earlier in (False, True):
        if earlier:
            with torch.no_grad():
                model(2 * images)
        logits = model(images)
        with torch.no_grad():
            losses.append(contrast(labels, logits))
    assert torch.equal(*losses)


def test_eval_mode_of_the_model_or_of_contrast_changes_no_state() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attach(model, at="neck", num_classes=CLASSES, memory=MEMORY)
    contrast(labels, model(images))
    state = copy.deepcopy(contrast.state_dict())
    for module in (model, contrast):
        module.eval()
        contrast(labels, model(images))
        with torch.no_grad():
            contrast(labels, model(images))
        module.train()
        for name, value in contrast.state_dict().items():
            assert torch.equal(value, state[name]), name
    contrast(labels, model(images))
    assert contrast.criteria[0].memory.clock == 2


def test_passes_without_gradients_or_in_eval_mode_lie_between_without_harm() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attach(model, at="neck", num_classes=CLASSES, in_channels=12)
    model.eval()
    for _ in range(2):
        model(images)
    model.train()
    logits = model(images)
    with torch.no_grad():
        model(images + 1)  # a teacher's pass, for pseudo-labels
    contrast(labels, logits).backward()
    assert model.stem[0].weight.grad is not None


def test_steps_without_the_loss_are_over_with_their_backward_pass() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attach(model, at="neck", num_classes=CLASSES)
    for _ in range(3):
        cross_entropy(model(images), labels[:, ::4, ::4]).backward()
    assert contrast(labels, model(images)) > 0


def test_before_start_step_nothing_is_computed_but_everything_is_checked() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attach(model, at="neck", num_classes=CLASSES, memory=MEMORY, start_step=2, ramp_steps=2, weight=3.0)
    with pytest.raises(ValueError, match="labels must be 0..3"):
        contrast(labels + 7, model(images))
    losses = [contrast(labels, model(images)) for _ in range(4)]
    assert [float(loss.detach()) for loss in losses[:2]] == [0, 0]
    assert contrast.criteria[0].memory.clock == 2
    assert losses[2] > 0
    torch.testing.assert_close(losses[3], 3 * contrast.statistics["loss"])


def test_ten_steps_are_five_a_checkpoint_and_five_more() -> None:
    def steps(model: Network, contrast: AttachedContrast, first: int) -> list[Tensor]:
        losses = []
        for step in range(first, first + 5):
            images, labels = batch(step)
            losses.append(contrast(labels, model(images)).detach())
        return losses

    def make() -> tuple[Network, AttachedContrast]:
        torch.manual_seed(1)
        model = Network().requires_grad_()
        return model, attach(model, at="neck", num_classes=CLASSES, memory=MEMORY, ramp_steps=8)

    straight = make()
    expected = steps(*straight, 0) + steps(*straight, 5)
    first = make()
    losses = steps(*first, 0)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    torch.manual_seed(2)
    second = make()
    parameters = list(second[1].parameters())
    for part, state in zip(second, torch.load(file), strict=True):
        part.load_state_dict(state)
    assert all(one is other for one, other in zip(parameters, second[1].parameters(), strict=True))
    assert torch.equal(torch.stack(losses + steps(*second, 5)), torch.stack(expected))


def test_a_state_from_before_the_first_pass_can_be_saved_and_loaded() -> None:
    model = Network()
    contrast, other = (attach(model, at="neck", num_classes=CLASSES) for _ in range(2))
    other.load_state_dict(contrast.state_dict())


def test_candidates_are_printed_best_first(capsys: pytest.CaptureFixture[str]) -> None:
    model, (images, labels) = Network(lambda x: None), batch()
    before = copy.deepcopy(model.state_dict())
    contrast = attach(model, num_classes=CLASSES, example=images)
    printed = capsys.readouterr().out
    assert contrast.taps[0].module == "neck"
    assert "neck" in printed
    assert "[2, 12, 4, 6]  stride 4 x 4" in printed
    assert printed.index("neck") < printed.index("stem")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert contrast(labels, model(images)) > 0


class WithAuxiliaryHead(Network):
    """A second classifier that runs last, and whose maps the logits are not made of."""

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = nn.Sequential(nn.Conv2d(12, 20, 1), nn.ReLU(), nn.Conv2d(20, CLASSES, 1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.neck(self.stem(images))
        return {"out": self.head(x), "aux": self.auxiliary(x)}


@pytest.mark.parametrize("frozen", [False, True])
def test_maps_that_the_logits_are_made_of_come_first(frozen: bool) -> None:
    model, (images, _) = WithAuxiliaryHead(), batch()
    model.requires_grad_(not frozen)
    found = find_candidates(model, images, num_classes=CLASSES)
    assert found[0].tap.module == ("auxiliary.1" if frozen else "neck")  # of a frozen model there is no graph to ask
    assert {"neck", "auxiliary.1"} <= {candidate.tap.module for candidate in found}
    assert all(parameter.grad is None for parameter in model.parameters())


class Attending(Network):
    """Attention over windows of 2x2 cells: its weights, and what is computed in a window, look like maps."""

    def __init__(self) -> None:
        super().__init__()
        self.windows, self.softmax = nn.Conv2d(12, 12, 1), nn.Softmax(dim=-1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.neck(self.stem(images))
        windows = x.reshape(len(x), 12, 2, 2, 2, 3).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)  # [b*4 12 2 3]
        logits: Tensor = self.head(x * self.softmax(x) + self.windows(windows).mean())
        return logits


def test_attention_weights_and_windows_are_no_candidates() -> None:
    found = find_candidates(Attending(), torch.randn(2, 3, 16, 24), num_classes=CLASSES)
    names = {candidate.tap.module for candidate in found}
    assert found[0].tap.module == "neck"
    assert not names & {"softmax", "windows"}


def test_candidates_that_are_tokens_or_channels_last_say_so() -> None:
    tokens = find_candidates(Network(lambda x: x.flatten(2).mT), torch.randn(1, 3, 16, 24), num_classes=CLASSES)
    last = find_candidates(
        Network(lambda x: x.movedim(1, 3).contiguous()), {"images": torch.randn(1, 3, 16, 24)}, num_classes=CLASSES
    )
    found = [next(c.tap for c in candidates if c.tap.module == "shape") for candidates in (tokens, last)]
    assert (found[0].layout, found[0].grid, found[1].layout) == ("tokens", (4, 6), "channels_last")


def test_options_and_defaults_are_those_of_the_criterion() -> None:
    ours, defaults = signature(attach).parameters, ContrastOptions()
    for name in vars(defaults).keys() - {"extra_maps"}:  # of a recipe's backbone; here one names several modules
        assert ours[name].default == getattr(defaults, name), name
    assert not any(parameter.kind == parameter.VAR_KEYWORD for parameter in ours.values())


def test_the_model_is_found_within_its_wrappers() -> None:
    model = Network()
    compiled = torch.compile(model, backend="eager")
    assert attach(compiled, at="neck", num_classes=CLASSES).taps[0].module == "neck"
    with pytest.raises(ValueError, match="DistributedDataParallel"):
        attach(nn.DataParallel(model), at="neck", num_classes=CLASSES)
