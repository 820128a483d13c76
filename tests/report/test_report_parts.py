"""The laws behind the page: costs of confusions, scales, arms, colours, maps, pictures."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.ops.confusion import intersection_over_union
from pixelcontrast.recipe.text import write
from pixelcontrast.report.arms import Arm, group
from pixelcontrast.report.confusion import flow_costs, largest_flows, matrix
from pixelcontrast.report.curves import training_charts
from pixelcontrast.report.lines import Line, draw_lines, running_mean
from pixelcontrast.report.maps import flatten_all, measure
from pixelcontrast.report.origin import _text
from pixelcontrast.report.palette import chart_colours, with_lightness
from pixelcontrast.report.pictures import BETTER, BOTH_WRONG, example_groups
from pixelcontrast.report.runs import _without_paths, find_runs, read_run
from pixelcontrast.report.scales import direction, round_values, scale_for, short, signed
from report_runs import MadeRun, write_study

COUNTS = st.lists(st.lists(st.integers(0, 30), min_size=4, max_size=4), min_size=4, max_size=4).map(np.asarray)


def mean_iou(counts: np.ndarray) -> float:
    return 100 * float(intersection_over_union(torch.from_numpy(counts)).nanmean())


class TestConfusion:
    @given(COUNTS, st.integers(0, 3), st.integers(0, 3))
    @settings(max_examples=60, deadline=None)
    def test_a_cost_is_what_mean_iou_gains_when_the_pixels_are_put_right(
        self, counts: np.ndarray, label: int, prediction: int
    ) -> None:
        put_right = counts.copy()
        put_right[label, label] += counts[label, prediction]
        put_right[label, prediction] = 0 if label != prediction else counts[label, label]
        if label == prediction or not counts.any():
            return  # nothing to put right, or no class at all
        assert flow_costs(counts)[label, prediction] == pytest.approx(mean_iou(put_right) - mean_iou(counts))

    def test_a_class_that_nothing_is_left_of_leaves_the_mean(self) -> None:
        counts = np.asarray([[5, 3], [0, 0]])
        assert flow_costs(counts)[0, 1] == pytest.approx(100 - 100 * (5 / 8) / 2)

    def test_the_costliest_flow_comes_first_and_none_is_empty(self) -> None:
        counts = np.asarray([[90, 10, 0], [0, 50, 50], [1, 0, 99]])
        flows = largest_flows(counts, baseline=np.eye(3, dtype=int))
        assert (flows[0].label, flows[0].prediction) == (1, 2)
        assert [flow.cost for flow in flows] == sorted((flow.cost for flow in flows), reverse=True)
        assert len(flows) == 3
        assert flows[0].share == pytest.approx(50)
        assert flows[0].baseline == 0

    def test_a_matrix_of_many_classes_shows_those_that_are_confused_and_the_rest_together(self) -> None:
        counts = np.diag(np.full(40, 100))
        counts[3, 7] = counts[11, 30] = 50
        counts[3, 25] = 10
        found = matrix(counts, largest_flows(counts)[:2])
        assert found.classes == (3, 7, 11, 30)
        assert not found.complete
        row = [cell.share for cell in found.rows[0]]
        assert row == pytest.approx([100 / 1.6, 50 / 1.6, 0, 0, 10 / 1.6])

    def test_a_class_without_pixels_has_an_empty_row(self) -> None:
        found = matrix(np.asarray([[5, 1], [0, 0]]), [])
        assert [cell.share for cell in found.rows[1]] == [None, None, None]


class TestScales:
    @given(st.floats(-1e6, 1e6), st.floats(1e-4, 1e6))
    @settings(deadline=None)
    def test_ticks_are_few_and_evenly_spaced_within_the_scale(self, low: float, size: float) -> None:
        ticks = round_values(low, low + size)
        assert 2 <= len(ticks) <= 7
        assert low - size * 1e-6 <= ticks[0]
        assert ticks[-1] <= low + size * (1 + 1e-6)
        assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])

    @given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.booleans())
    @settings(deadline=None)
    def test_a_scale_holds_all_values(self, values: list[float], zero: bool) -> None:
        scale = scale_for(values, start=100, end=0, zero=zero)
        assert scale.low <= min(values) <= max(values) <= scale.high
        assert scale.low < scale.high
        assert not zero or scale.low <= 0 <= scale.high

    @pytest.mark.parametrize(
        ("value", "text"),
        [(0, "0"), (8.7569, "8.757"), (12345, "12.3k"), (0.00042, "4.2e-4"), (-0.5, "-0.5"), (100, "100"), (3e9, "3G")],
    )
    def test_numbers_are_short(self, value: float, text: str) -> None:
        assert short(value) == text

    def test_a_difference_that_rounds_to_nothing_has_no_sign(self) -> None:
        assert [signed(value) for value in (0.26, -0.26, -0.04, None)] == ["+0.3", "−0.3", "0.0", "–"]
        assert [direction(value) for value in (0.26, -0.26, -0.04)] == ["up", "down", "none"]


class TestLines:
    def test_a_chart_without_points_is_none(self) -> None:
        empty = np.zeros(0)
        assert draw_lines("x", [Line("a", "arm-0", empty, empty)], unit="") is None

    def test_long_series_are_thinned_to_means(self) -> None:
        steps = np.arange(5000.0)
        chart = draw_lines("x", [Line("a", "arm-0", steps, steps)], unit="")
        assert chart is not None
        (line,) = chart.data["lines"]
        assert len(line["x"]) <= 300
        assert np.allclose(line["x"], line["y"], atol=1)

    def test_a_running_mean_keeps_what_is_constant_and_the_length(self) -> None:
        assert np.allclose(running_mean(np.full(130, 3.0)), 3)
        assert running_mean(np.arange(50.0))[25] == pytest.approx(25)


class TestArms:
    def arms(self, *paths: Path) -> tuple[Arm, ...]:
        return group([read_run(run) for path in paths for run in find_runs(path)])

    def test_a_comparison_is_arms_by_folder_without_contrast_first(self, tmp_path: Path) -> None:
        arms = self.arms(write_study(tmp_path / "study", seeds=2))
        assert [arm.name for arm in arms] == ["cross entropy", "contrast"]
        assert [[run.seed for run in arm.runs] for arm in arms] == [[0, 1], [0, 1]]

    def test_loose_runs_are_told_apart_by_their_recipes(self, tmp_path: Path) -> None:
        runs = [MadeRun(contrast=c, seed=s).write(tmp_path / f"{c}{s}") for c in (True, False) for s in (5, 4)]
        arms = self.arms(*runs)
        assert [arm.name for arm in arms] == ["cross entropy", "contrast"]
        assert [run.seed for run in arms[1].runs] == [4, 5]

    def test_where_the_data_lies_makes_no_other_arm(self, tmp_path: Path) -> None:
        elsewhere = {"name": "camvid", "root": "elsewhere"}
        runs = [MadeRun().write(tmp_path / "a"), MadeRun(seed=1, data=elsewhere).write(tmp_path / "b")]
        assert len(self.arms(*runs)) == 1

    def test_two_recipes_of_one_kind_keep_their_folders_names(self, tmp_path: Path) -> None:
        runs = [MadeRun(data={"name": name}).write(tmp_path / name) for name in ("one", "two")]
        assert [arm.name for arm in self.arms(*runs)] == ["one", "two"]

    def test_runs_without_a_recipe_stay_apart(self, tmp_path: Path) -> None:
        runs = [MadeRun().write(tmp_path / name) for name in ("one", "two")]
        for run in runs:
            RunFolder(run).recipe.unlink()
        assert len(self.arms(*runs)) == 2


class TestPalette:
    def test_colours_that_can_be_seen_stay(self) -> None:
        assert np.allclose(255 * with_lightness((200, 60, 60), 0.3, 0.8), (200, 60, 60), atol=1)

    @given(st.tuples(*[st.integers(0, 255)] * 3))
    @settings(max_examples=60, deadline=None)
    def test_no_colour_vanishes_on_either_page(self, colour: tuple[int, int, int]) -> None:
        (_, light, dark) = chart_colours([colour])[0]

        def luminance(text: str) -> float:
            values = np.asarray([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255
            linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
            return float(linear @ [0.2126, 0.7152, 0.0722])

        assert 1.05 / (luminance(light) + 0.05) > 1.9  # against white; WCAG's ratio
        assert (luminance(dark) + 0.05) / (0.01 + 0.05) > 2.5  # against the dark page


class TestMaps:
    def clusters(self, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.default_rng(seed)
        labels = np.repeat(np.arange(3), 14)
        rows = np.eye(6)[labels] + 0.1 * generator.normal(size=(42, 6))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True), labels

    def test_equal_rows_give_equal_maps_and_a_turned_space_lies_as_the_first(self) -> None:
        rows, _ = self.clusters()
        turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))
        first, again, turned = flatten_all([rows, rows, rows @ turn])
        for other in (again, turned):
            assert np.abs(first.pca - other.pca).max() <= 2
        assert np.array_equal(first.tsne, again.tsne)
        assert first.explained == pytest.approx(turned.explained)
        for shape in (first.tsne, first.pca):
            assert shape.min() >= 0
            assert shape.max() <= 1000

    @pytest.mark.parametrize(("count", "width"), [(1, 4), (2, 4), (3, 1), (6, 2)])
    def test_few_pixels_are_mapped_too(self, count: int, width: int) -> None:
        rows = np.random.default_rng(0).normal(size=(count, width))
        (flat,) = flatten_all([rows])
        assert flat.tsne.shape == flat.pca.shape == (count, 2)
        measure(rows, np.zeros(count, dtype=int))

    def test_embeddings_that_collapsed_are_mapped_to_one_point(self) -> None:
        (flat,) = flatten_all([np.ones((9, 4)) / 2])
        assert len(np.unique(flat.tsne, axis=0)) == 1
        assert flat.explained == (0, 0)
        assert measure(np.ones((9, 4)) / 2, np.arange(9) % 3).rank == pytest.approx(1)

    def test_measures_know_apart_from_mixed(self) -> None:
        rows, labels = self.clusters()
        apart = measure(rows, labels)
        mixed = measure(rows, np.random.default_rng(0).permutation(labels))
        assert apart.neighbours == pytest.approx(100)
        assert apart.silhouette > 0.8 > mixed.silhouette
        assert apart.within > 0.9
        assert abs(apart.between) < 0.2
        cosines = rows @ rows.T
        same = (labels[:, None] == labels) & ~np.eye(42, dtype=bool)
        assert apart.within == pytest.approx(cosines[same].mean())


def test_the_change_panel_tells_who_is_right(tmp_path: Path) -> None:
    arms = []
    truth = np.asarray([[0, 0, 0, 0, 255]] * 5, dtype=np.uint8)
    before, after = (np.asarray([row] * 5, dtype=np.uint8) for row in ([0, 1, 0, 1, 1], [0, 0, 1, 1, 1]))
    for number, (name, predicted) in enumerate({"before": before, "after": after}.items()):
        run = RunFolder(MadeRun(contrast=number == 1).write(tmp_path / name))
        for file in run.examples.rglob("*.png"):
            Image.fromarray(truth if file.name.endswith(".label.png") else predicted).save(file)
        arms.append(Arm(name, number, (read_run(run.path),)))
    panels = example_groups(arms, ((1, 2, 3), (4, 5, 6)))[0].examples[0].panels
    assert [panel.title for panel in panels] == [
        "image", "label", "prediction, before", "prediction, after", "errors, before", "change"
    ]  # fmt: skip
    png = base64.b64decode(panels[-1].source.partition(",")[2])
    colours = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))[0]
    assert [tuple(colour) for colour in colours.tolist()] == [
        (225, 225, 225), BETTER, (213, 94, 0), BOTH_WRONG, (0, 0, 0)
    ]  # fmt: skip


def test_a_picture_cut_short_is_left_out(tmp_path: Path) -> None:
    run = RunFolder(MadeRun().write(tmp_path / "run"))
    for file in run.examples.rglob("*.prediction.png"):
        file.write_bytes(file.read_bytes()[:60])
    panels = example_groups([Arm("run", 0, (read_run(run.path),))], ((1, 2, 3),))[0].examples[0].panels
    assert [panel.title for panel in panels] == ["image", "label"]


@pytest.mark.parametrize(
    "root",
    ["/data/" + "long name " * 20 + "end", "~/x", "C:\\data\\x", "\\\\server\\" + "share " * 30 + "x", "/data/it's"],
)
def test_a_recipe_is_shown_without_paths(root: str) -> None:
    """YAML goes on in the next line with what is long."""
    recipe = {"seed": 1, "data": {"parts": [{"root": root, "name": "folder"}], "root": root, "cache": True}}
    told = _without_paths(write(recipe))
    assert yaml.safe_load(told) == {
        "seed": 1, "data": {"parts": [{"root": "PATH", "name": "folder"}], "root": "PATH", "cache": True}
    }  # fmt: skip


def test_a_path_is_told_by_its_last_part() -> None:
    assert _text({"model.pretrained": "/home/someone/weights.pth"}, "model.pretrained") == "weights.pth"
    assert _text({"parts": [{"root": "~/a b/c"}, {"root": "C:\\x\\y"}]}, "parts") == "[{'root': 'c'}, {'root': 'y'}]"
    assert _text({"model.head": "fcn", "rate": 0.5}, "rate") == "0.5"
    assert _text({"at": "backbone.layer4/1"}, "at") == "backbone.layer4/1"


@pytest.mark.parametrize(("level", "names"), [(8.5, {"chance"}), (6.2, {"one, chance", "two, chance"})])
def test_the_level_of_chance_is_each_arms_own_where_they_differ(tmp_path: Path, level: float, names: set[str]) -> None:
    """It hangs on the number of keys: in-batch keys alone are fewer than those of a memory."""
    arms = []
    for number, name in enumerate(("one", "two")):
        folder = MadeRun().write(tmp_path / name)
        if name == "two":
            logged = (
                (folder / "metrics.jsonl")
                .read_text()
                .replace('"contrast/chance_level": 8.5', f'"contrast/chance_level": {level}')
            )
            (folder / "metrics.jsonl").write_text(logged)
        arms.append(Arm(name=name, runs=(read_run(folder),), number=number))
    chart = next(chart for chart in training_charts(arms) if chart.title == "Contrast loss")
    shown = str(chart.data) + chart.svg
    assert {each for each in ("one, chance", "two, chance") if each in shown} == names - {"chance"}
    assert "floor" in shown
