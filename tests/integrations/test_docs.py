"""The documents say what is so: code in docs/attach.md is that of the scripts, figures in docs/faq.md are computed."""

import os
import re
import subprocess
import sys
from math import exp, log1p
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixelcontrast import MemoryOptions, Segmentor
from pixelcontrast.export import Deployed, export_model
from pixelcontrast.nn.heads import FCN
from pixelcontrast.nn.options import ModelOptions

ROOT = Path(__file__).parents[2]
ATTACH = (ROOT / "docs" / "attach.md").read_text()
FAQ = (ROOT / "docs" / "faq.md").read_text()
LIBRARIES = sorted(path.stem for path in (ROOT / "examples" / "libraries").glob("*.py"))


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_recipe_of_each_library_is_in_its_script(name: str) -> None:
    source = (ROOT / "examples" / "libraries" / f"{name}.py").read_text()
    shared = ATTACH.partition("## One recipe a library")[2].partition("```python\n")[2].partition("```")[0]
    own = ATTACH.partition(f"(../examples/libraries/{name}.py)")[2].partition("```python\n")[2].partition("```")[0]
    lines = {line.strip() for line in source.splitlines()}
    assert own.strip()
    for line in (shared + own).strip().splitlines():
        assert line in lines, line
    added = {line for line in lines if line.endswith("# contrast")}
    assert added == {line for line in (shared + own).splitlines() if line.endswith("# contrast")}


@pytest.mark.parametrize(
    "path",
    [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "data").glob("*.md"))],
    ids=lambda path: path.name,
)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert target.startswith("http") or (path.parent / target).exists(), target


def test_the_sizes_of_memories_are_those_computed() -> None:
    table = FAQ.partition("| classes | 5000")[2].partition("\n\n")[0]
    rows = [[float(cell) for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert len(rows) == 5
    for classes, *sizes in rows:
        options = [
            MemoryOptions(pixels_per_class=pixels, regions_per_class=regions, dtype=dtype)
            for pixels, regions in ((5000, 1000), (29750, 2975))
            for dtype in ("float32", "bfloat16")
        ]
        assert sizes == [round(each.num_bytes(int(classes), 256) / 2**20, 1) for each in options]


def test_chance_level_and_floor_are_those_computed() -> None:
    floors = [log1p(2048 * exp(-(1 + 1 / 18) / temperature)) for temperature in (0.1, 0.2, 0.3)]
    said = "7.63 for 2048", "{:.2f} at temperature 0.1, {:.2f} at 0.2 and {:.2f} at 0.3".format(*floors)
    assert f"{log1p(2048):.2f}" == "7.63"
    assert all(" ".join(text.split()) in " ".join(FAQ.split()) for text in said)


def test_what_the_paper_page_names_is_there() -> None:
    page = (ROOT / "docs" / "paper.md").read_text()
    named = re.findall(r"`([\w/.]+\.py)::(\w+)`", page)
    named += [("contrast/test_defects.py", name) for name in re.findall(r"`(test_\d\d_\w+)`", page)]
    for path, name in named:
        folder = ROOT / ("tests" if Path(path).name.startswith("test_") else "src/pixelcontrast")
        assert re.search(rf"^(def|class) {name}\b", (folder / path).read_text(), re.MULTILINE), f"{path}::{name}"
    assert {int(name[5:7]) for _, name in named if re.match(r"test_\d\d_", name)} == set(range(1, 19))


def test_the_reference_is_that_of_the_docstrings(tmp_path: Path) -> None:
    script, page = ROOT / "docs" / "make_api.py", tmp_path / "api.md"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, str(script), str(page)], check=True, env=environment)
    assert page.read_text() == (ROOT / "docs" / "api.md").read_text(), "run `python docs/make_api.py`"


def test_the_pages_of_the_data_sets_are_those_of_their_classes(tmp_path: Path) -> None:
    script, pages = ROOT / "docs" / "make_data_pages.py", ROOT / "docs" / "data"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, env=environment)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_text() for path in pages.iterdir()}, "run `python docs/make_data_pages.py`"


@pytest.mark.compiled
def test_an_exported_graph_runs_as_the_guide_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    segmentor = Segmentor(ModelOptions(backbone="test_resnet", head=FCN()), 2, class_names=("road", "sky"))
    export_model(segmentor, tmp_path / "network.onnx", format="onnx")
    picture = np.random.default_rng(0).integers(0, 256, (48, 72, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    guide = (ROOT / "docs" / "evaluation.md").read_text().partition("## Export")[2]
    found: dict[str, np.ndarray] = {}
    exec(guide.partition("```python\n")[2].partition("```")[0], found)  # noqa: S102 - it is our own
    pixels = torch.from_numpy(np.array(Image.open("photo.jpg"))).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (segmentor.mean, segmentor.std))
    with torch.no_grad():
        expected = Deployed(segmentor)(((pixels - mean) / std)[None])
    assert np.abs(found["logits"] - expected.numpy()).max() < 1e-4
