"""What a report says, and what it must not: read from the file, without a browser."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.engine.scores import Scores
from pixelcontrast.errors import RunError
from pixelcontrast.report.page import write_report
from report_runs import CLASSES, MadeRun, write_study

HOSTILE = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "{{ 7 * 7 }}", "road & rail")


class Page(HTMLParser):
    """Tags with their attributes, and the text of the page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._inside = ""
        self.source = path.read_text()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else self._inside
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif not self._inside:
            self.text += data


def page_of(*runs: Path, output: Path, **options: str) -> Page:
    write_report(runs, output, **options)
    return Page(output)


def sections(page: Page) -> list[str | None]:
    return [attributes.get("id") for tag, attributes in page.tags if tag == "section"]


ALL = ["summary", "training", "classes", "confusion", "images", "embedding", "health", "origin"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study") / "synthetic")


@pytest.fixture(scope="module")
def study_page(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return page_of(study, output=tmp_path_factory.mktemp("page") / "report.html")


def test_one_run_has_every_section(tmp_path: Path) -> None:
    page = page_of(MadeRun(embedded=True).write(tmp_path / "run"), output=tmp_path / "report.html")
    assert sections(page) == ALL
    for text in ("resnet10t + fcn on camvid", "camvid val, 4 classes; 12 images", "c0ffee", "a computer", "Worst"):
        assert text in page.text
    assert all(name in page.text for name in CLASSES)


def test_a_run_without_contrast_has_no_health(tmp_path: Path) -> None:
    page = page_of(MadeRun(contrast=False).write(tmp_path / "run"), output=tmp_path / "report.html")
    assert sections(page) == [name for name in ALL if name not in ("health", "embedding")]
    assert "Contrast loss" not in page.text


def test_the_table_of_classes_says_of_how_many_seeds_its_means_are(study_page: Page) -> None:
    assert "mean and deviation over the seeds (cross entropy 3, contrast 3)" in study_page.text


def test_a_study_shows_arms_by_mean_and_interval(study: Path, study_page: Page) -> None:
    scores = {
        arm: [Scores.load(study / arm / f"seed_{seed}" / "scores.json").mIoU for seed in range(3)]
        for arm in ("cross_entropy", "contrast")
    }
    gain = np.mean(np.subtract(scores["contrast"], scores["cross_entropy"]))
    assert f"{gain:+.1f} points of mIoU with contrast against cross entropy, 95 % interval" in " ".join(
        study_page.text.split()
    )
    for arm in scores.values():
        assert f"{np.mean(arm):.1f} ±{np.std(arm, ddof=1):.1f}" in study_page.text
    assert "paired t over 3 seeds" in study_page.text


def test_seeds_of_one_recipe_are_one_arm(tmp_path: Path) -> None:
    runs = [MadeRun(seed=seed).write(tmp_path / str(seed)) for seed in (3, 4)]
    page = page_of(*runs, output=tmp_path / "report.html")
    assert "mean and deviation of 2 seeds" in page.text
    assert "difference" not in page.text


def test_one_seed_each_says_that_it_knows_no_spread(tmp_path: Path) -> None:
    pair = [MadeRun(contrast=contrast).write(tmp_path / str(contrast)) for contrast in (True, False)]
    page = page_of(*pair, output=tmp_path / "report.html")
    assert "with contrast against cross entropy, one seed each: how much seeds differ is unknown" in page.text
    assert "Over the choice of images alone" in page.text


def test_an_interval_over_images_is_of_the_runs_whose_difference_is_shown(tmp_path: Path) -> None:
    runs = [MadeRun(contrast=False, seed=seed).write(tmp_path / f"plain_{seed}") for seed in (0, 1)]
    runs.append(MadeRun(seed=1, skill=0.8).write(tmp_path / "contrast_1"))
    page = page_of(*runs, output=tmp_path / "report.html")
    assert "one seed in common: how much seeds differ is unknown" in page.text
    assert "Over the choice of images alone" not in page.text  # it would be of the first runs, seeds 0 and 1
    assert "1 of 2 seeds" in page.text


@pytest.mark.parametrize("kept", [[], ["metrics"], ["scores"], ["metrics", "scores", "images"]])
def test_what_is_missing_is_said_and_the_rest_is_shown(tmp_path: Path, kept: list[str]) -> None:
    folder = MadeRun(embedded=True).write(tmp_path / "run")
    run = RunFolder(folder)
    for name in ("metrics", "speed", "provenance", "scores", "images", "embeddings"):
        if name not in kept:
            getattr(run, name).unlink()
    shutil.rmtree(run.examples)
    (folder / "config.json").unlink()
    page = page_of(folder, output=tmp_path / "report.html")
    assert ("there are no curves" in page.text) == ("metrics" not in kept)
    assert ("Training has not ended" in page.text) == ("scores" not in kept)
    assert "pixelcontrast embed RUN" in page.text
    expected = {"summary", "origin"}
    expected |= {"training", "health"} if "metrics" in kept else set()
    expected |= {"classes", "confusion", "images"} if "scores" in kept else set()
    assert set(sections(page)) == (expected if "scores" not in kept else expected | {"training"})


def test_scores_of_an_older_version_are_shown(tmp_path: Path) -> None:
    folder = MadeRun().write(tmp_path / "run")
    path = RunFolder(folder).scores
    old = {"mIoU", "aAcc", "mAcc", "IoU", "accuracy", "label_share", "absent", "protocol", "images", "counts", "step"}
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key in old}))
    RunFolder(folder).images.unlink()
    page = page_of(folder, output=tmp_path / "report.html")
    assert "of an older version" in page.text
    assert "boundary" not in "".join(page.text.split("Classes")[1].split("Confusion")[0].split("along contours")[1:])


def test_a_class_that_does_not_occur_is_left_out_and_named(tmp_path: Path) -> None:
    folder = MadeRun().write(tmp_path / "run")
    path = RunFolder(folder).scores
    values = json.loads(path.read_text())
    counts = np.asarray(values["counts"])
    counts[3], counts[:, 3] = 0, 0
    values |= {"counts": counts.tolist(), "absent": ["pole"]}
    for key in ("IoU", "accuracy", "precision", "F1", "boundary_IoU"):
        values[key]["pole"] = None
    path.write_text(json.dumps(values))
    page = page_of(folder, output=tmp_path / "report.html")
    assert "Left out of the means, since they occur in neither labels nor predictions: pole." in page.text


def test_names_are_never_markup(tmp_path: Path) -> None:
    names = tuple(f"{name}{i}" for i, name in enumerate(("<b>bold", 'a"b', "c'd", "&amp;", "{% raw %}")))
    runs = [
        MadeRun(contrast=contrast, classes=HOSTILE, names=names, embedded=True).write(
            tmp_path / f"<i>{contrast}" / "seed_0"
        )
        for contrast in (True, False)
    ]
    page = page_of(*runs, output=tmp_path / "report.html", title="<u>title</u>")
    assert not {"b onerror", "u", "img x"} & {tag for tag, _ in page.tags}
    assert all("onerror" not in attributes and attributes.get("src") != "x" for _, attributes in page.tags)
    assert len([script for script in page.scripts if "alert(1)" in script and not script.startswith("{")]) == 0
    for text in (*HOSTILE, "<u>title</u>", "<b>bold0", "{% raw %}4", "<i>True"):
        assert text in page.text
    for script in page.scripts[:-1]:
        json.loads(script)


def test_the_page_asks_for_nothing(study_page: Page) -> None:
    policy = next(a["content"] for tag, a in study_page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    for _, attributes in study_page.tags:
        assert "style" not in attributes, "an inline style would need an unsafe policy"
        for key in ("src", "href"):
            assert (attributes.get(key) or "#").startswith(("#", "data:"))
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", study_page.source)


def test_no_place_of_the_machine_is_told(study_page: Page) -> None:
    assert "/home/someone" not in study_page.source
    assert "root: PATH" in study_page.text


def test_runs_of_other_classes_are_shown_beside_each_other(tmp_path: Path) -> None:
    few = MadeRun(contrast=False, classes=("road", "sky")).write(tmp_path / "few")
    for name, classes in (("many", CLASSES), ("others", ("sky", "road"))):
        page = page_of(few, MadeRun(classes=classes).write(tmp_path / name), output=tmp_path / "report.html")
        assert "sky" in page.text


def test_equal_files_give_equal_pages(study: Path, study_page: Page, tmp_path: Path) -> None:
    again = page_of(study, output=tmp_path / "report.html")
    assert again.source == study_page.source


def test_an_evaluation_is_shown_by_its_name(tmp_path: Path) -> None:
    folder = MadeRun(skill=0.8).write(tmp_path / "run")
    other = MadeRun(skill=0.3).write(tmp_path / "other")
    place = RunFolder(folder).evaluation("test")
    place.path.mkdir(parents=True)
    shutil.copy(other / "scores.json", place.scores)
    page = page_of(folder, output=tmp_path / "report.html", evaluation="test")
    assert f"{Scores.load(place.scores).mIoU:.1f} %" in page.text
    with pytest.raises(RunError, match="no evaluation 'tset'"):
        page_of(folder, output=tmp_path / "report.html", evaluation="tset")


def test_embeddings_of_other_pixels_are_left_out_with_a_word(tmp_path: Path) -> None:
    pair = [MadeRun(contrast=each, embedded=True).write(tmp_path / str(each)) for each in (True, False)]
    path = RunFolder(pair[1]).embeddings
    with np.load(path) as held:
        np.savez(path, **{**held, "row": held["row"] + 1})
    page = page_of(*pair, output=tmp_path / "report.html")
    assert "cross entropy has embeddings of other pixels and is left out" in page.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("scores.json", "{}", "does not hold scores"),
        ("recipe.yaml", "[1, 2]", "expected a recipe"),
        ("recipe.yaml", "a: [", "is no YAML"),
        ("config.json", "{", "is not the configuration"),
        ("images.npz", "no zip", "expected the counts by image"),
        ("embeddings.npz", "no zip", "expected a file that `pixelcontrast embed` wrote"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_a_message(tmp_path: Path, name: str, content: str, message: str) -> None:
    folder = MadeRun().write(tmp_path / "run")
    (folder / name).write_text(content)
    with pytest.raises(RunError, match=message):
        write_report([folder], tmp_path / "report.html")


def test_a_line_torn_by_a_crash_is_passed_over(tmp_path: Path) -> None:
    folder = MadeRun().write(tmp_path / "run")
    with RunFolder(folder).metrics.open("a") as file:
        file.write('{"step": 400, "lr": NaN}\n{"step": 401, "lo')
    assert "Learning rate" in page_of(folder, output=tmp_path / "report.html").text


def test_folders_without_runs_are_a_message(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "nowhere", "no folder at"), (tmp_path, "no run in")):
        with pytest.raises(RunError, match=message):
            write_report([path], tmp_path / "report.html")
