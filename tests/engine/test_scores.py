"""What is made of counts, and how it is kept."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from pixelcontrast.compare.pair import table_of_two
from pixelcontrast.engine.bootstrap import mean_iou_interval
from pixelcontrast.engine.examples import Choice
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.tally import Prediction, Tally
from pixelcontrast.errors import RunError

CPU = torch.device("cpu")


def tally_of(num_images: int) -> Tally:
    tally = Tally.zeros(num_images, 3, CPU)
    for index in range(num_images):
        labels = torch.randint(0, 2, (20, 30))
        labels[:3] = 255
        tally.add(index, labels, Prediction(torch.randint(0, 2, (20, 30)), torch.rand(20, 30)))
    return tally


def scores_of(tally: Tally) -> Scores:
    choice = Choice((("a", 0.25),), (("b", 0.5),), ("a", "b"))
    return Scores.from_tally(tally, ("x", "y", "z"), choice, protocol="toy val", images=4, step=7)


def test_scores_come_back_as_they_were_written(tmp_path: Path) -> None:
    scores = scores_of(tally_of(4))
    scores.save(tmp_path / "deep" / "scores.json")
    assert Scores.load(tmp_path / "deep" / "scores.json") == scores
    assert scores.worst == (("a", 25.0),)
    assert scores.absent == ("z",)
    assert scores.boundary_IoU is not None
    assert scores.boundary_IoU["z"] is None


def test_scores_of_an_older_version_load_without_what_it_did_not_measure(tmp_path: Path) -> None:
    values = json.loads(json.dumps({**scores_of(tally_of(4)).__dict__}))
    since = ("mIoU_interval", "precision", "F1", "boundary_IoU", "boundary_mIoU", "ECE", "calibration", "worst", "best")
    for key in (*since, "even"):
        del values[key]
    (tmp_path / "scores.json").write_text(json.dumps(values))
    scores = Scores.load(tmp_path / "scores.json")
    assert scores.mIoU == values["mIoU"]
    assert scores.ECE is None
    assert scores.table("of an older version").row_count == 5


def test_only_a_class_that_does_not_occur_is_called_absent() -> None:
    tally = Tally.zeros(1, 3, CPU)
    tally.add(0, torch.tensor([[0, 1]]), Prediction(torch.zeros(1, 2, dtype=torch.int64), torch.rand(1, 2)))
    console = Console(file=io.StringIO(), width=120)
    console.print(scores_of(tally).table("toy"))
    rows = [line.split("│")[1:-1] for line in console.file.getvalue().splitlines() if line.startswith("│")]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    assert cells["y"][:3] == ["0.00", "0.00", "-"]  # labelled, and never predicted
    assert cells["z"][:3] == ["absent", "absent", "absent"]


@pytest.mark.parametrize(("labels", "told"), [([[0, 0]], True), ([[0, 255]], True), ([[0, 1]], False)])
def test_a_mean_over_one_class_is_told(labels: list[list[int]], told: bool) -> None:
    tally = Tally.zeros(1, 3, CPU)
    tally.add(0, torch.tensor(labels), Prediction(torch.zeros(1, 2, dtype=torch.int64), torch.rand(1, 2)))
    assert ("every labelled pixel is 'x'" in str(scores_of(tally).table("toy").caption)) == told


@pytest.mark.parametrize("text", ["{}", "no json", '{"mIoU": "high"}'])
def test_other_files_are_refused_with_their_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "scores.json").write_text(text)
    with pytest.raises(RunError, match="scores.json does not hold scores"):
        Scores.load(tmp_path / "scores.json")
    with pytest.raises(RunError, match="expected scores"):
        Scores.load(tmp_path / "none.json")


def test_images_add_up_to_the_split() -> None:
    tally = tally_of(5)
    right, labelled, predicted = tally.images.sum(0)
    assert torch.equal(right, tally.confusion.diagonal())
    assert torch.equal(labelled, tally.confusion.sum(1))
    assert torch.equal(predicted, tally.confusion.sum(0))
    assert tally.calibration[:, 0].sum() == tally.confusion.sum() == 5 * 17 * 30


class TestInterval:
    def test_it_equals_a_loop_over_drawn_images(self) -> None:
        images = tally_of(6).images
        draws = np.random.default_rng(0).multinomial(6, [1 / 6] * 6, size=1000)
        means = []
        for draw in draws:
            right, labelled, predicted = sum(int(times) * images[i] for i, times in enumerate(draw))
            ious = [int(r) / int(m + p - r) for r, m, p in zip(right, labelled, predicted, strict=True) if m + p - r]
            means.append(sum(ious) / len(ious))
        interval = mean_iou_interval(images)
        assert interval == pytest.approx(np.percentile(means, [2.5, 97.5]).tolist())

    def test_equal_images_leave_no_doubt_and_one_image_tells_nothing(self) -> None:
        images = tally_of(1).images
        assert mean_iou_interval(images) is None
        low, high = mean_iou_interval(images.repeat(5, 1, 1)) or (0.0, 1.0)
        assert low == pytest.approx(high)

    def test_a_split_without_labels_has_none(self) -> None:
        assert mean_iou_interval(torch.zeros(4, 3, 2, dtype=torch.int64)) is None


def test_names_are_shown_as_they_are_whatever_brackets_they_hold() -> None:
    choice = Choice((("[/]", 0.25),), (), ())
    scores = Scores.from_tally(tally_of(4), ("[void]", "b [/]", "[/c]"), choice, protocol="[x]", images=4, step=7)
    console = Console(file=io.StringIO(), width=120)
    console.print(scores.table("run [/] val"))
    console.print(table_of_two({"one": scores, "two": scores}))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(shown.count(name) == count for name, count in (("[void]", 2), ("b [/]", 2), ("run [/] val", 1)))
