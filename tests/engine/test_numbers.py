"""A loss or gradient that is not finite never reaches a weight; what is said of it is true, and can be seen again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result

from pixelcontrast.cli.app import app
from pixelcontrast.contrast import ExtraMap
from pixelcontrast.engine.incidents import append_incident
from pixelcontrast.engine.kept_step import load_kept_step, save_kept_step
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.numbers import gradient_norm, verdict
from pixelcontrast.engine.replay import kept_files, replay_step
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.errors import RunError
from pixelcontrast.losses import CrossEntropy
from pixelcontrast.ops.resize import resize_labels
from pixelcontrast.recipe.root import Recipe
from pixelcontrast.types import Batch
from training_runs import metrics_of, run, shortened

POISONED = 2


@pytest.fixture
def poison_images(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put an infinite pixel into every batch of the steps given, on its way to the device."""

    def poison(*steps: int) -> None:
        move = SegmentationTask.transfer_batch_to_device

        def poisoned(task: SegmentationTask, batch: Batch, device: torch.device, index: int) -> Batch:
            batch = move(task, batch, device, index)
            if task._trainer is not None and task.global_step in steps:
                batch.image[0, 0, 5, 5] = torch.inf
            return batch

        monkeypatch.setattr(SegmentationTask, "transfer_batch_to_device", poisoned)

    return poison


class _BadGradient(torch.autograd.Function):
    """Hands values on, and gives the logits of one class's pixels no gradient that is a number."""

    @staticmethod
    def forward(ctx: object, logits: Tensor, wrong: Tensor) -> Tensor:
        ctx.wrong = wrong  # type: ignore[attr-defined]
        return logits.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.masked_fill(ctx.wrong, torch.nan), None  # type: ignore[attr-defined]


@pytest.fixture
def poison_gradients(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Spoil the gradient of one class's cells in the batch of the n-th call of cross entropy; return that class."""
    plain = CrossEntropy.__call__

    def poison(call: int) -> list[int]:
        seen: list[Tensor] = []
        spoilt: list[int] = []

        def poisoned(term: CrossEntropy, logits: Tensor, labels: Tensor) -> Tensor:
            seen.append(labels)
            if len(seen) <= call or not torch.equal(labels, seen[call]):
                return plain(term, logits, labels)
            cells = resize_labels(labels, logits.shape[-2:])
            spoilt.append(int(cells[cells < logits.shape[1]][0]))
            wrong = (cells == spoilt[-1])[:, None].expand_as(logits)
            return plain(term, _BadGradient.apply(logits, wrong), labels)

        monkeypatch.setattr(CrossEntropy, "__call__", poisoned)
        return spoilt

    return poison


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)


def checkpoint(run_dir: Path, step: int) -> dict[str, object]:
    return torch.load(run_dir / "checkpoints" / f"step_{step:08d}.ckpt", weights_only=True)


def same(one: object, other: object) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)  # type: ignore[arg-type]
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)  # type: ignore[attr-defined,index]
    if isinstance(one, list):
        return all(same(a, b) for a, b in zip(one, other, strict=True))  # type: ignore[call-overload]
    return one == other


def test_a_loss_that_is_not_finite_stops_within_the_step_and_says_where(
    recipe: Recipe, tmp_path: Path, poison_images: Callable[..., None]
) -> None:
    recipe = shortened(recipe, checkpoint_every=2)
    poison_images(POISONED)
    with pytest.raises(RunError) as stopped:
        run(recipe, tmp_path / "run")
    said = str(stopped.value)
    assert said.startswith(f"step {POISONED} is not finite: first in the output of segmentor.backbone.network.conv1")
    assert "loss/cross_entropy nan" in said
    assert "loss/contrast" in said
    kept = load_kept_step(kept_files(tmp_path / "run", None)[0])
    names = kept.batches[0]["names"]
    assert len(names) == 2
    assert f"files: {', '.join(names)}" in said
    assert "optimizer.lr" in said
    state = checkpoint(tmp_path / "run", POISONED)["state_dict"]
    assert all(torch.equal(state[f"segmentor.{name}"], value) for name, value in kept.network.items())  # type: ignore[index]
    criterion = {name.removeprefix("0."): value for name, value in kept.contrast.items()}
    assert all(torch.equal(state[f"contrast.{name}"], value) for name, value in criterion.items())  # type: ignore[index]
    assert not (tmp_path / "run" / "checkpoints" / "step_00000003.ckpt").exists()
    assert '"kind": "not_finite"' in (tmp_path / "run" / "incidents.jsonl").read_text()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_gradient_that_is_not_finite_names_its_class_and_replays_bit_for_bit(
    recipe: Recipe,
    tmp_path: Path,
    poison_gradients: Callable[[int], list[int]],
    accumulate: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = shortened(recipe, accumulate=accumulate)
    losses: list[dict[str, float]] = []
    step = SegmentationTask.training_step

    def recorded(task: SegmentationTask, batch: Batch, batch_idx: int) -> Tensor:
        loss = step(task, batch, batch_idx)
        losses.append({name: float(value) for name, value in task.parts.items()})
        return loss

    monkeypatch.setattr(SegmentationTask, "training_step", recorded)
    spoilt = poison_gradients((POISONED + 1) * accumulate - 1)  # the last batch of the step
    with pytest.raises(RunError, match="the loss is finite, but not its gradient, first of segmentor.head") as stopped:
        run(recipe, tmp_path / "run")
    monkeypatch.setattr(SegmentationTask, "training_step", step)
    assert f"classes: {recipe.data.label_space.names[spoilt[0]]};" in str(stopped.value)

    (file,) = kept_files(tmp_path / "run", None)
    kept, found = replay_step(recipe, file, device=torch.device("cpu"))
    assert kept.step == POISONED
    assert len(found) == accumulate
    for diagnosis, logged in zip(found, losses[-accumulate:], strict=True):
        assert {name: diagnosis.terms[name] for name in logged} == logged
    assert found[-1].gradients
    assert found[-1].module is None
    assert [diagnosis.found for diagnosis in found] == [False] * (accumulate - 1) + [True]


def test_weights_that_were_not_finite_before_are_named(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RunError) as stopped:
        run(replace(recipe, optimizer=replace(recipe.optimizer, lr=3e38)), tmp_path / "run")
    assert "not finite" in str(stopped.value)
    assert int(str(stopped.value).split()[1]) <= 2


def test_a_skipped_step_leaves_no_trace_but_its_count(
    recipe: Recipe, tmp_path: Path, poison_images: Callable[..., None]
) -> None:
    assert recipe.contrast is not None
    recipe = replace(recipe, contrast=replace(recipe.contrast, extra_maps=(ExtraMap(map=0),)))
    recipe = shortened(recipe, checkpoint_every=1, keep_checkpoints=9, non_finite="skip", max_steps=4)
    poison_images(POISONED)
    _, printed = run(recipe, tmp_path / "run")
    before, after = (checkpoint(tmp_path / "run", step) for step in (POISONED, POISONED + 1))
    assert same(before["state_dict"], after["state_dict"])
    assert same(before["optimizer_states"][0]["state"], after["optimizer_states"][0]["state"])  # type: ignore[index]
    assert f"step {POISONED} is skipped (1 so far)" in printed
    lines = metrics_of(tmp_path / "run")
    assert [line["step"] for line in lines if line.get("skipped_steps") == 1] == [POISONED]
    assert ["loss" in line for line in lines if "lr" in line] == [True, True, False, True]
    assert len(list((tmp_path / "run" / "replay").glob("*.pt"))) == 1


def test_ten_steps_in_a_row_are_not_skipped(recipe: Recipe, tmp_path: Path, poison_images: Callable[..., None]) -> None:
    poison_images(*range(3, 30))
    with pytest.raises(RunError, match="10 steps in a row are not finite; the last, 12"):
        run(shortened(recipe, max_steps=20, non_finite="skip", checkpoint_every=50), tmp_path / "run")


def test_ignore_looks_at_nothing(recipe: Recipe, tmp_path: Path, poison_images: Callable[..., None]) -> None:
    poison_images(0)
    run(shortened(recipe, max_steps=2, non_finite="ignore"), tmp_path / "run")
    assert not (tmp_path / "run" / "replay").exists()


def test_looking_changes_no_bit_of_a_run(recipe: Recipe, tmp_path: Path) -> None:
    for policy in ("stop", "ignore"):
        run(shortened(recipe, non_finite=policy), tmp_path / policy)
    stop, ignore = ((tmp_path / policy / "weights.safetensors").read_bytes() for policy in ("stop", "ignore"))
    assert stop == ignore


class TestReplayCommand:
    def test_it_shows_the_first_module_and_exits_with_0(
        self, recipe: Recipe, tmp_path: Path, poison_images: Callable[..., None]
    ) -> None:
        poison_images(POISONED)
        with pytest.raises(RunError):
            run(recipe, tmp_path / "run")
        shown = command("replay", tmp_path / "run")
        assert shown.exit_code == 0
        assert "segmentor.backbone.network.conv1" in shown.stdout
        assert "loss/cross_entropy: nan" in shown.stdout
        assert command("replay", tmp_path / "run", "--step", 7).exit_code == 2

    def test_a_step_that_is_finite_after_all_exits_with_1(
        self,
        recipe: Recipe,
        tmp_path: Path,
        poison_gradients: Callable[[int], list[int]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        poison_gradients(POISONED)
        with pytest.raises(RunError):
            run(recipe, tmp_path / "run")
        monkeypatch.undo()
        shown = command("replay", tmp_path / "run")
        assert shown.exit_code == 1
        assert "all of it is finite here" in shown.stdout

    def test_every_rank_of_a_step_is_run(
        self, recipe: Recipe, tmp_path: Path, poison_images: Callable[..., None]
    ) -> None:
        """Whichever rank has the culprit: here the second of three; an earlier step is kept as well."""
        poison_images(POISONED)
        with pytest.raises(RunError):
            run(recipe, tmp_path / "run")
        kept = RunFolder(tmp_path / "run").replay / f"step_{POISONED:08d}.pt"
        poisoned = load_kept_step(kept)
        finite = [{**batch, "image": batch["image"].nan_to_num(0, 0, 0)} for batch in poisoned.batches]
        clean = replace(poisoned, batches=finite)
        for rank, step in enumerate((clean, poisoned, clean)):
            save_kept_step(step, kept.with_stem(f"{kept.stem}-rank_{rank}"))
        kept.rename(kept.with_name("step_00000000.pt"))
        assert [file.stem[-6:] for file in kept_files(tmp_path / "run", None)] == ["rank_0", "rank_1", "rank_2"]
        assert [file.stem for file in kept_files(tmp_path / "run", 0)] == ["step_00000000"]
        shown = command("replay", tmp_path / "run")
        assert shown.exit_code == 0
        assert [f"rank_{rank}.pt" in shown.stdout for rank in range(3)] == [True] * 3
        assert "loss/cross_entropy: nan" in shown.stdout

    def test_a_run_without_a_kept_step_says_so(self, tmp_path: Path) -> None:
        assert "expected a run folder" in command("replay", tmp_path).stderr
        with pytest.raises(RunError, match="kept no step"):
            kept_files(tmp_path, None)


@pytest.mark.parametrize("content", ["bomb", "other", "torn", "labels"])
def test_a_hostile_replay_file_is_refused(
    recipe: Recipe, tmp_path: Path, poison_gradients: Callable[[int], list[int]], content: str
) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "exploded",)

    path = tmp_path / "step_00000001.pt"
    if content == "bomb":
        torch.save({"step": Bomb()}, path)
    elif content == "other":
        torch.save({"step": 3}, path)
    elif content == "torn":
        path.write_bytes(b"PK\x03\x04 not much of a zip")
    else:
        poison_gradients(0)
        with pytest.raises(RunError):
            run(recipe, tmp_path / "run")
        values = torch.load(kept_files(tmp_path / "run", 0)[0], weights_only=True)
        values["batches"][0]["labels"][0, 0, 0] = 77
        torch.save(values, path)
    with pytest.raises(RunError, match="is no step that a training kept|holds something else or is damaged"):
        load_kept_step(path)
    assert not (tmp_path / "exploded").exists()


def test_images_of_other_channels_than_the_network_takes_are_refused(
    recipe: Recipe, tmp_path: Path, poison_gradients: Callable[[int], list[int]]
) -> None:
    poison_gradients(0)
    with pytest.raises(RunError):
        run(recipe, tmp_path / "run")
    (path,) = kept_files(tmp_path / "run", 0)
    values = torch.load(path, weights_only=True)
    values["batches"][0]["image"] = values["batches"][0]["image"].repeat(1, 2, 1, 1)
    torch.save(values, path)
    with pytest.raises(RunError, match="its images have not 3 channels"):
        replay_step(recipe, path, device=torch.device("cpu"))


def test_overflowing_gradients_are_the_scalers_business_until_its_scale_is_spent() -> None:
    assert verdict(loss=True, gradient=True, scale=None) == "take"
    assert verdict(loss=True, gradient=False, scale=None) == "refuse"
    assert [verdict(loss=True, gradient=False, scale=scale) for scale in (65536.0, 1.0, 0.5)] == [
        "scaler",
        "scaler",
        "refuse",
    ]
    assert verdict(loss=False, gradient=False, scale=65536.0) == "refuse"


def test_the_norm_of_the_gradient_is_that_of_clipping() -> None:
    network = torch.nn.Linear(3, 4)
    network(torch.randn(2, 3)).square().sum().backward()
    expected = torch.nn.utils.clip_grad_norm_(network.parameters(), 1e9)
    torch.testing.assert_close(gradient_norm(network), expected)
    network.bias.grad[1] = torch.nan  # type: ignore[index]
    assert not gradient_norm(network).isfinite()


def test_incidents_are_json_by_line(tmp_path: Path) -> None:
    for step in (3, 4):
        append_incident(tmp_path / "i.jsonl", step=step, kind="spike", text="\u00e9\n", files=["a/b"])
    assert len((tmp_path / "i.jsonl").read_text().splitlines()) == 2
