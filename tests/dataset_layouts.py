"""Small data sets in their true layouts, with what each is expected to read as; a builder for each layout there is."""

from __future__ import annotations

import functools
import io
import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelcontrast.data import (
    Ade20k,
    Camvid,
    Cityscapes,
    CocoStuff,
    DataOptions,
    Folder,
    Hub,
    Joint,
    JointPart,
    PascalContext,
    Synthetic,
)
from pixelcontrast.data.datasets import synthetic
from pixelcontrast.data.label_tables import PASCAL_CONTEXT, PASCAL_CONTEXT_AUTHORS_ORDER, PASCAL_CONTEXT_NUMBERS

SIZE = (24, 32)


@dataclass
class Layout:
    """A data set on disk.

    `expected` holds class ids by split and sample name, None for an image without labels; `images` and `labels` the
    files of each, by split and name (labels that lie in one file for all have none); `unknown_id` an id, or a colour,
    that its files may not hold.
    """

    options: DataOptions
    expected: dict[str, dict[str, np.ndarray | None]] = field(default_factory=dict)
    images: dict[tuple[str, str], Path] = field(default_factory=dict)
    labels: dict[tuple[str, str], Path] = field(default_factory=dict)
    unknown_id: int | tuple[int, int, int] | None = None

    def add(self, split: str, name: str, image: Path, labels: Path | None, ids: np.ndarray | None) -> None:
        self.expected.setdefault(split, {})[name] = ids
        self.images[split, name] = image
        if labels is not None:
            self.labels[split, name] = labels


def blocks(seed: int, num_classes: int, *, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Class ids in runs of 3 pixels, a tenth of them ignored; the highest class is left out."""
    height, width = size
    position = np.arange(height)[:, None] * width + np.arange(width)[None]
    ids = (position // 3 + seed) % max(num_classes - 1, 1)
    return np.where(position // 3 % 10 == 9, 255, ids).astype(np.uint8)


def noise(seed: object, *, size: tuple[int, int] = SIZE) -> np.ndarray:
    """An image, another one for each seed, such as a file's name."""
    return np.random.default_rng(zlib.crc32(str(seed).encode())).integers(0, 256, (*size, 3), dtype=np.uint8)


def save(array: np.ndarray, path: Path) -> Path:
    """Write a PNG or JPEG, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def camvid(root: Path) -> Layout:
    layout = Layout(Camvid(root=str(root)), unknown_id=37)
    for split, count in (("train", 4), ("val", 3), ("test", 2)):
        for index in range(count):
            name, ids = f"{split}_{index}", blocks(index, 11)
            image = save(noise(name), root / split / f"{name}.{'jpg' if index % 2 else 'png'}")
            labels = save(np.where(ids == 255, 11, ids).astype(np.uint8), root / f"{split}annot" / f"{name}.png")
            layout.add(split, name, image, labels, ids)
    return layout


# In the order of SegNet's ids, one colour of each class, and void.
CAMVID_DRAWN = np.array(
    [
        (128, 128, 128), (64, 192, 0), (0, 0, 64), (128, 0, 192), (0, 0, 192), (192, 192, 0), (128, 128, 64),
        (64, 64, 128), (192, 128, 192), (192, 128, 64), (192, 0, 192), (0, 0, 0),
    ],
    np.uint8,
)  # fmt: skip


def camvid_original(root: Path) -> Layout:
    """As published: all frames in one folder, labels in colours."""
    frames = {
        "train": ("0001TP_008520", "0006R0_f00930", "0016E5_07920", "0016E5_08640"),
        "val": ("0016E5_07959", "0016E5_08159"),
        "test": ("0001TP_008550", "Seq05VD_f00000"),
    }
    layout = Layout(Camvid(root=str(root)), unknown_id=(1, 2, 3))
    for split, names in frames.items():
        for seed, name in enumerate(names):
            ids = blocks(seed, 11)
            image = save(noise(name), root / "701_StillsRaw_full" / f"{name}.png")
            drawing = CAMVID_DRAWN[np.where(ids == 255, 11, ids)]
            layout.add(split, name, image, save(drawing, root / "LabeledApproved_full" / f"{name}_L.png"), ids)
    return layout


def camvid_colors(root: Path) -> Layout:
    """In folders by split, labels in colours."""
    layout = Layout(Camvid(root=str(root)), unknown_id=(200, 0, 0))
    for split in ("train", "val", "test"):
        for seed in range(2):
            name, ids = f"{split}_{seed}", blocks(seed, 11)
            image = save(noise(name), root / split / f"{name}.png")
            drawing = CAMVID_DRAWN[np.where(ids == 255, 11, ids)]
            layout.add(split, name, image, save(drawing, root / f"{split}_labels" / f"{name}_L.png"), ids)
    return layout


scene = functools.cache(synthetic.scene)  # drawing takes a second where shapes are checked


def drawn(root: Path) -> Layout:
    """The synthetic scenes, made by the data set itself; the caller lowers their number and lends it `scene`."""
    layout = Layout(Synthetic(root=str(root)), unknown_id=37)
    home = Synthetic(root=str(root)).prepare()
    for split, count in synthetic.NUM_IMAGES.items():
        for index in range(count):
            name = f"{index:04d}"
            labels = home / f"{split}annot" / f"{name}.png"
            layout.add(split, name, home / split / f"{name}.png", labels, scene(split, index)[1].numpy())
    return layout


def relabel(ids: np.ndarray, numbers: dict[int, int], *, ignored: int) -> np.ndarray:
    """Class ids to the numbers that files hold."""
    table = np.full(256, ignored)
    for label, number in numbers.items():
        table[label] = number
    return table[ids].astype(np.uint8)


def cityscapes(root: Path) -> Layout:
    layout = Layout(Cityscapes(root=str(root)), unknown_id=77)
    numbers = dict(enumerate((7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)))
    for split, cities in (("train", ("aachen", "bochum")), ("val", ("lindau",)), ("test", ("berlin",))):
        for seed, city in enumerate(cities):
            name = f"{city}_000000_000019"
            image = save(noise(name), root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
            if split == "test":
                layout.add(split, name, image, None, None)
                continue
            ids, folder = blocks(seed, 19), root / "gtFine" / split / city
            labels = save(relabel(ids, numbers, ignored=3 if seed else 255), folder / f"{name}_gtFine_labelIds.png")
            save(noise(0), folder / f"{name}_gtFine_color.png")
            layout.add(split, name, image, labels, ids)
    return layout


def pascal_context(root: Path) -> Layout:
    layout = Layout(PascalContext(root=str(root)), unknown_id=60)
    lists = root / "ImageSets" / "SegmentationContext"
    lists.mkdir(parents=True)
    for split, names in (("train", ("2008_000002", "2008_000003")), ("val", ("2008_000007",))):
        for seed, name in enumerate(names):
            ids = blocks(seed, 59)
            image = save(noise(name), root / "JPEGImages" / f"{name}.jpg")
            raw = relabel(ids, {i: i + 1 for i in range(59)}, ignored=0)
            layout.add(split, name, image, save(raw, root / "SegmentationClassContext" / f"{name}.png"), ids)
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    save(noise(9), root / "JPEGImages" / "2009_000001.jpg")  # of VOC, but in neither list
    return layout


def encode_runs(mask: np.ndarray) -> str:
    """COCO's text of a mask, value by value as its maskApi.c writes it."""
    flat = mask.T.ravel().astype(int)
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    runs = [0, *runs] if flat[0] else runs
    text = ""
    for i, run in enumerate(runs):
        number = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            digit, number = number & 0x1F, number >> 5
            more = number != -1 if digit & 0x10 else number != 0
            text += chr((digit | 0x20 * more) + 48)
    return text


def pascal_context_authors(root: Path) -> Layout:
    """Labels in the authors' order, in which bag (here class 1) has id 21, and the lists of VOC."""
    layout = pascal_context(root)
    lists = root / "ImageSets" / "SegmentationContext"
    lists.rename(root / "ImageSets" / "Main")
    order = [PASCAL_CONTEXT.names.index(name) for name in PASCAL_CONTEXT_AUTHORS_ORDER]
    assert PASCAL_CONTEXT.names[1] == PASCAL_CONTEXT_AUTHORS_ORDER[20] == "bag"
    for (split, name), path in list(layout.labels.items()):
        ids = layout.expected[split][name]
        assert ids is not None
        raw = relabel(ids, {label: number for number, label in enumerate(order, start=1)}, ignored=0)
        layout.labels[split, name] = save(raw, root / "59_context_labels" / path.name)
    shutil.rmtree(root / "SegmentationClassContext")
    return layout


def pascal_context_merged(root: Path) -> Layout:
    """Masks in one JSON file."""
    layout = pascal_context(root)
    content: dict[str, list[dict[str, object]]] = {"images": [], "annos_segmentation": [], "parts": [{"part_id": 1}]}
    for number, (split, name) in enumerate(layout.labels):
        ids = layout.expected[split][name]
        assert ids is not None
        height, width = ids.shape
        image = {"image_id": number, "file_name": f"{name}.jpg", "phase": split, "height": height, "width": width}
        content["images"].append(image)
        masks = {1: np.ones_like(ids)}  # a rare category below everything
        masks |= {PASCAL_CONTEXT_NUMBERS[label]: ids == label for label in np.unique(ids) if label != 255}
        for category, mask in masks.items():
            encoded = {"size": [height, width], "counts": encode_runs(mask)}
            content["annos_segmentation"].append(
                {"image_id": number, "category_id": category, "segmentation": encoded, "parts": [{"part_id": 1}]}
            )
    (root / "trainval_merged.json").write_text(json.dumps(content))
    shutil.rmtree(root / "SegmentationClassContext")
    shutil.rmtree(root / "ImageSets")
    layout.labels.clear()
    return layout


def coco_numbers() -> dict[int, int]:
    unused = {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
    return dict(enumerate(number for number in range(182) if number not in unused))


def coco_stuff(root: Path) -> Layout:
    layout = Layout(CocoStuff(root=str(root)), unknown_id=11)
    for split, names in (("train", ("000000000009", "000000000025")), ("val", ("000000000139",))):
        for seed, name in enumerate(names):
            ids = blocks(seed, 171)
            image = save(noise(name), root / "images" / f"{split}2017" / f"{name}.jpg")
            raw = relabel(ids, coco_numbers(), ignored=255)
            layout.add(split, name, image, save(raw, root / "stuffthingmaps" / f"{split}2017" / f"{name}.png"), ids)
    return layout


def coco_stuff_10k(root: Path) -> Layout:
    layout = Layout(CocoStuff(root=str(root)), unknown_id=12)
    numbers = {label: number + 1 for label, number in coco_numbers().items()}
    (root / "imageLists").mkdir()
    for split, numbers_of_images in (("train", (77, 81)), ("val", (78,))):
        names = [f"COCO_train2014_{number:012d}" for number in numbers_of_images]
        (root / "imageLists" / f"{'test' if split == 'val' else split}.txt").write_text("\n".join(names))
        for seed, name in enumerate(names):
            ids = blocks(seed, 171)
            image = save(noise(name), root / "images" / f"{name}.jpg")
            raw = relabel(ids, numbers, ignored=0)
            layout.add(split, name, image, save(raw, root / "annotations" / f"{name}.png"), ids)
    return layout


def ade20k(root: Path) -> Layout:
    layout = Layout(Ade20k(root=str(root)), unknown_id=151)
    for split, part in (("train", "training"), ("val", "validation")):
        for seed in range(2):
            name, ids = f"ADE_{split}_{seed:08d}", blocks(seed, 150)
            image = save(noise(name), root / "images" / part / f"{name}.jpg")
            raw = relabel(ids, {i: i + 1 for i in range(150)}, ignored=0)
            layout.add(split, name, image, save(raw, root / "annotations" / part / f"{name}.png"), ids)
    return layout


def folder(root: Path) -> Layout:
    layout = Layout(Folder(root=str(root)), unknown_id=9)
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.yaml").write_text("[soil, crop, weed]\n")
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for seed in range(count):
            name, ids = f"{split}-{seed}", blocks(seed, 3)
            image = save(noise(name), root / "images" / split / f"{name}.jpg")
            labels = None if split == "test" else save(ids, root / "labels" / split / f"{name}.png")
            layout.add(split, name, image, labels, None if split == "test" else ids)
    return layout


def folder_listed(root: Path) -> Layout:
    """The same files in a list of pairs."""
    layout = folder(root)
    rows = ["image,labels,split"]
    for (split, name), image in layout.images.items():
        labels = layout.labels.get((split, name))
        rows.append(f"{image.relative_to(root)},{labels.relative_to(root) if labels else ''},{split}")
    (root / "pairs.csv").write_text("\n".join(rows))
    listed = Layout(Folder(root=str(root), pairs="pairs.csv"), unknown_id=9)
    for (split, name), image in layout.images.items():
        path = f"images/{split}/{name}"
        listed.add(split, path, image, layout.labels.get((split, name)), layout.expected[split][name])
    return listed


def folder_bands(root: Path) -> Layout:
    """TIFFs of four 16-bit bands."""
    tifffile = pytest.importorskip("tifffile")
    statistics = ((1000.0, 2000.0, 3000.0, 4000.0), (500.0, 600.0, 700.0, 800.0))
    layout = Layout(Folder(root=str(root), mean=statistics[0], std=statistics[1]), unknown_id=9)
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.yaml").write_text("[soil, crop, weed]\n")
    for split in ("train", "val"):
        for seed in range(2):
            name, ids = f"{split}-{seed}", blocks(seed, 3)
            image = root / "images" / split / f"{name}.tif"
            image.parent.mkdir(parents=True, exist_ok=True)
            bands = np.stack([noise((name, band))[..., 0] for band in range(4)]).astype(np.uint16) * 20
            tifffile.imwrite(image, bands, photometric="minisblack")
            layout.add(split, name, image, save(ids, root / "labels" / split / f"{name}.png"), ids)
    return layout


def encoded(array: np.ndarray) -> bytes:
    """A PNG."""
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(path: Path, rows: list[dict[str, object]], *, block: int) -> None:
    """Write rows as the hub does: images as their bytes and a name, in blocks of so many rows."""
    parquet = pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pytest.importorskip("pyarrow").Table.from_pylist(rows), path, row_group_size=block)


def hub(root: Path) -> Layout:
    """Parquet files by split; test has no labels."""
    datasets = pytest.importorskip("datasets")
    datasets.config.HF_DATASETS_CACHE = root.with_name(f"{root.name}-cache")
    datasets.disable_progress_bars()
    layout = Layout(Hub(root=str(root)))
    root.mkdir(parents=True, exist_ok=True)
    (root / "id2label.json").write_text(json.dumps({"0": "soil", "2": "weed", "1": "crop"}))
    for split, file, count in (("train", "train", 5), ("val", "validation", 2), ("test", "test", 1)):
        rows: list[dict[str, object]] = []
        for index in range(count):
            ids = blocks(index, 3)
            image = {"bytes": encoded(noise((split, index))), "path": f"{index}.png"}
            rows.append({"image": image, "other": index})
            if split != "test":
                rows[-1]["label"] = {"bytes": encoded(ids), "path": f"{index}.png"}
            layout.expected.setdefault(split, {})[f"{index:06d}"] = None if split == "test" else ids
        write_parquet(root / "data" / f"{file}-00000-of-00001.parquet", rows, block=2)
    return layout


def hub_streamed(root: Path) -> Layout:
    """The same, read where it lies; a stream needs the column of labels."""
    layout = hub(root)
    (root / "data" / "test-00000-of-00001.parquet").unlink()
    del layout.expected["test"]
    return replace(layout, options=replace(layout.options, streaming=True))  # type: ignore[call-arg]


def joint(root: Path) -> Layout:
    """CamVid and a folder, whose soil is CamVid's road; its crop and weed are classes of their own."""
    parts = {"camvid": camvid(root / "camvid"), "folder": folder(root / "folder")}
    renames: dict[str, dict[str, str | None]] = {"camvid": {"cyclist": None}, "folder": {"soil": "road"}}
    options = Joint(
        parts=tuple(
            JointPart(data=part.options, rename=renames[name])  # type: ignore[arg-type]
            for name, part in parts.items()
        )
    )
    layout = Layout(options, unknown_id=37)
    tables = {"camvid": {i: i for i in range(10)}, "folder": {0: 3, 1: 10, 2: 11}}
    for name, part in parts.items():
        for (split, inner), image in part.images.items():
            ids = part.expected[split][inner]
            mapped = None if ids is None else relabel(ids, tables[name], ignored=255)
            layout.add(split, f"{name}/{inner}", image, part.labels.get((split, inner)), mapped)
    return layout


BUILDERS: dict[type[DataOptions], Callable[[Path], Layout]] = {
    Ade20k: ade20k,
    Camvid: camvid,
    Cityscapes: cityscapes,
    CocoStuff: coco_stuff,
    Folder: folder,
    Hub: hub,
    Joint: joint,
    PascalContext: pascal_context,
    Synthetic: drawn,
}
OTHER_LAYOUTS = (
    camvid_original,
    camvid_colors,
    coco_stuff_10k,
    folder_bands,
    folder_listed,
    hub_streamed,
    pascal_context_authors,
    pascal_context_merged,
)
