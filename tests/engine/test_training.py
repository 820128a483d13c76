"""The main job for real: a run folder from a recipe, on files, with and without contrast."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from block_scenes import write_camvid
from pixelcontrast.data import training_loader
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.training import build_task
from pixelcontrast.errors import DataError, RecipeError, RunError
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.recipe.root import Recipe, load
from pixelcontrast.types import Batch
from training_runs import metrics_of, run, shortened


def test_a_run_leaves_what_a_person_needs(recipe: Recipe, tmp_path: Path) -> None:
    scores, printed = run(shortened(recipe, evaluate_every=3), tmp_path / "run")
    run_dir = tmp_path / "run"
    assert load(str(run_dir / "recipe.yaml")) == shortened(recipe, evaluate_every=3)
    assert Scores.load(run_dir / "scores.json") == scores
    assert scores.images == 3
    assert scores.step == 6
    assert "bicyclist" in scores.IoU or "cyclist" in scores.IoU
    lines = metrics_of(run_dir)
    assert [line["step"] for line in lines if "loss" in line] == [0, 1, 2, 3, 4, 5]
    assert [line["step"] for line in lines if "val/mIoU" in line] == [3]
    assert {"loss/cross_entropy", "loss/contrast"} <= set(lines[0])
    assert lines[0]["lr"] == pytest.approx(0.05)
    assert len(list((run_dir / "pictures").glob("*.png"))) == 3
    assert {file.name for file in (run_dir / "examples").iterdir()} == {
        f"{i}.{kind}" for i in range(3) for kind in ("image.jpg", "label.png", "prediction.png")
    }
    assert scores.even == ("0", "1", "2")
    assert [score for _, score in scores.worst] == sorted(score for _, score in scores.best)
    images = np.load(run_dir / "images.npz")
    assert images["names"].tolist() == ["0", "1", "2"]
    assert images["intersection"].sum(0).tolist() == np.diagonal(scores.counts).tolist()
    assert images["labelled"].sum(0).tolist() == np.sum(scores.counts, 1).tolist()
    assert images["predicted"].sum(0).tolist() == np.sum(scores.counts, 0).tolist()
    speed = [json.loads(line) for line in (run_dir / "speed.jsonl").read_text().splitlines()]
    assert [line["step"] for line in speed] == [0, 1, 2, 3, 4, 5]
    assert all(line["images_per_second"] > 0 and line["peak_bytes"] > 1e6 for line in speed)
    (source,) = (json.loads(line) for line in (run_dir / "provenance.jsonl").read_text().splitlines())
    assert source["threads"] == 1
    assert source["libraries"]["torch"] == torch.__version__.partition("+")[0]
    assert "validation at step 3" in printed
    loaded = Segmentor.from_pretrained(run_dir)
    assert loaded.num_classes == 11


def test_contrast_leaves_no_trace_in_what_is_deployed(recipe: Recipe, tmp_path: Path) -> None:
    run(shortened(recipe, max_steps=1), tmp_path / "with")
    run(shortened(replace(recipe, contrast=None), max_steps=1), tmp_path / "without")
    with_contrast, without = (load_file(tmp_path / name / "weights.safetensors") for name in ("with", "without"))
    assert {k: v.shape for k, v in with_contrast.items()} == {k: v.shape for k, v in without.items()}


def test_runs_with_and_without_contrast_start_equal(recipe: Recipe) -> None:
    tasks = [build_task(recipe), build_task(replace(recipe, contrast=None))]
    states = [task.segmentor.state_dict() for task in tasks]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])


def test_a_finished_run_is_not_trained_again(recipe: Recipe, tmp_path: Path) -> None:
    recipe = shortened(recipe, max_steps=1)
    scores, _ = run(recipe, tmp_path / "run")
    again, printed = run(recipe, tmp_path / "run", resume=True)
    assert again == scores
    assert "done" in printed
    with pytest.raises(RunError, match="--resume"):
        run(recipe, tmp_path / "run")


def test_resume_without_a_checkpoint_starts_at_step_0_and_says_so(recipe: Recipe, tmp_path: Path) -> None:
    _, printed = run(shortened(recipe, max_steps=1), tmp_path / "run", resume=True)
    assert "starting at step 0" in printed


def test_off_means_not_computed(recipe: Recipe, tmp_path: Path) -> None:
    assert recipe.contrast is not None
    late = replace(recipe, contrast=replace(recipe.contrast, start_step=2))
    run(shortened(late, max_steps=4), tmp_path / "run")
    assert ["loss/contrast" in line for line in metrics_of(tmp_path / "run")] == [False, False, True, True]


def test_contrast_reaches_the_backbone_in_a_plain_single_process(recipe: Recipe, tmp_path: Path) -> None:
    """The released code set the contrast weight to 0 without a distributed launch (method.md, section 7, 12)."""
    run(shortened(recipe, max_steps=1), tmp_path / "run")
    line = metrics_of(tmp_path / "run")[0]
    assert line["loss"] == pytest.approx(line["loss/cross_entropy"] + line["loss/contrast"], rel=1e-4)


def test_figures_of_contrast_are_logged_and_the_costly_ones_rarely(recipe: Recipe, tmp_path: Path) -> None:
    run(shortened(recipe, max_steps=20, log_every=2, checkpoint_every=50), tmp_path / "run")
    lines = metrics_of(tmp_path / "run")
    assert all({"contrast/floor", "contrast/memory_fill", "contrast/memory_age"} <= set(line) for line in lines)
    assert [line["step"] for line in lines if "contrast/gradient_ratio" in line] == [19]
    assert lines[-1]["contrast/gradient_ratio"] > 0
    assert lines[-1]["contrast/effective_rank"] >= 1


def test_figures_are_means_over_the_batches_of_a_step(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: dict[int, list[float]] = {}
    step = SegmentationTask.training_step

    def noting(task: SegmentationTask, batch: Batch, batch_idx: int) -> torch.Tensor:
        loss = step(task, batch, batch_idx)
        losses.setdefault(task.global_step, []).append(float(loss.detach()))
        return loss

    monkeypatch.setattr(SegmentationTask, "training_step", noting)
    run(shortened(recipe, accumulate=3, max_steps=2), tmp_path / "run")
    logged = {line["step"]: line["loss"] for line in metrics_of(tmp_path / "run") if "loss" in line}
    assert [len(batches) for batches in losses.values()] == [3, 3]
    assert logged == {number: pytest.approx(np.mean(batches), rel=1e-4) for number, batches in losses.items()}


def test_a_split_without_a_labelled_pixel_ends_a_run_before_it_begins(recipe: Recipe, tmp_path: Path) -> None:
    root = write_camvid(tmp_path / "camvid")
    for path in (root / "valannot").iterdir():
        Image.fromarray(np.full_like(np.asarray(Image.open(path)), 11)).save(path)  # void
    with pytest.raises(DataError, match="camvid val: expected pixels of some class .* ignored in all 3 images"):
        run(replace(recipe, data=replace(recipe.data, root=str(root))), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_collapse_is_announced_once_at_the_second_look(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelcontrast.contrast.PixelContrast.has_collapsed", lambda _: False)
    monkeypatch.setattr("pixelcontrast.contrast.PixelContrast.memory_has_collapsed", lambda _: True)
    _, printed = run(shortened(recipe, max_steps=30, checkpoint_every=50), tmp_path / "run")
    assert printed.count("collapse") == 1
    assert "at step 20 all classes point one way (collapse) in the memory;" in " ".join(printed.split())


def test_a_criterion_that_is_off_cannot_stop_a_run(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the released code a NaN of contrast, multiplied by 0, still killed the warm-up (method.md, section 7, 11)."""
    assert recipe.contrast is not None
    monkeypatch.setattr("pixelcontrast.contrast.PixelContrast.forward", lambda *_: torch.tensor(float("nan")))
    run(shortened(replace(recipe, contrast=replace(recipe.contrast, start_step=2)), max_steps=2), tmp_path / "run")
    assert all(torch.tensor(line["loss"]).isfinite() for line in metrics_of(tmp_path / "run"))


def test_runs_with_and_without_contrast_see_the_same_samples(recipe: Recipe) -> None:
    """Defect 17: the baseline and the contrast runs of the released study were fed differently."""
    tasks = [build_task(recipe), build_task(replace(recipe, contrast=None))]
    batches = [next(iter(loader_of(task))) for task in tasks]
    assert torch.equal(batches[0].image, batches[1].image)
    assert batches[0].names == batches[1].names


def loader_of(task: SegmentationTask) -> DataLoader[Batch]:
    data = task.training_data
    mean, std = task.segmentor.mean, task.segmentor.std
    return training_loader(data.dataset, data.options, seed=data.seed, start_step=3, num_steps=4, mean=mean, std=std)


def test_a_batch_that_does_not_divide_leaves_no_folder(recipe: Recipe, tmp_path: Path) -> None:
    uneven = replace(shortened(recipe, devices=2), data=replace(recipe.data, batch_size=3))
    with pytest.raises(RecipeError, match=r"multiple of the 2 ranks, got 3; set data.batch_size=2"):
        run(uneven, tmp_path / "run")
    assert not (tmp_path / "run").exists()
