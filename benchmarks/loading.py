"""Images per second and core at the size of Cityscapes, beside the bare decoding of the same files.

    python benchmarks/loading.py

Pairs of 2048x1024 PNG files lie in the layout of Cityscapes: images of smooth shapes with the noise of a camera, labels
of some hundred regions. `decoding` is Pillow reading image and labels into arrays; `loading` is what a worker of the
loader does for a sample: reading, mapping the label ids, the recipe's random scale, crop, flip and colours, and
normalising. Both on one thread, in turns; seconds are processor time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measure import measure, write
from PIL import Image
from torch.nn.functional import interpolate

from pixelcontrast.data.loader import training_loader
from pixelcontrast.recipe.root import load

RESULTS = Path(__file__).parent / "results"
HEIGHT, WIDTH = 1024, 2048
CITY = "aachen"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="cityscapes/hrnet_w48")
    parser.add_argument("--images", type=int, default=8, help="pairs of files")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS / "loading_cpu.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pairs = [make_pair(root, number) for number in range(options.images)]
        size = sum(image.stat().st_size for image, _ in pairs) / len(pairs) / 1e6
        functions = {"decoding": lambda: decode(pairs), "loading": loading(options.recipe, root, options.images)}
        results = measure(functions, options.repetitions)
    for figures in results.values():
        del figures["peak_mib"]
        figures["images_per_second"] = options.images / figures["median_s"]
    ratio = results["loading"]["median_s"] / results["decoding"]["median_s"]
    for name, figures in results.items():
        print(f"{name:10} {figures['images_per_second']:6.1f} images/s")
    print(f"loading takes {ratio:.2f} x the time of decoding; {size:.1f} MB an image")
    settings = {"recipe": options.recipe, "images": options.images, "image_mb": size}
    write(options.output, {"settings": settings, "results": results, "ratio": ratio})


def make_pair(root: Path, number: int) -> tuple[Path, Path]:
    """Write image and labels of one scene."""
    generator = torch.Generator().manual_seed(number)
    image = sum(
        amplitude * _enlarged(torch.randn(1, 3, cells, 2 * cells, generator=generator))
        for amplitude, cells in ((40, 8), (20, 64), (8, 256))
    )
    image = image + 110 + 0.8 * torch.randn(3, HEIGHT, WIDTH, generator=generator)
    labels = _enlarged(torch.randint(0, 34, (1, 1, 12, 24), generator=generator).float(), mode="nearest-exact")
    name = f"{CITY}_{number:06}_000019"
    paths = (
        root / "leftImg8bit" / "train" / CITY / f"{name}_leftImg8bit.png",
        root / "gtFine" / "train" / CITY / f"{name}_gtFine_labelIds.png",
    )
    arrays = image.clamp(0, 255).byte().movedim(0, -1).numpy(), labels[0].byte().numpy()
    for path, array in zip(paths, arrays, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)
    return paths


def _enlarged(maps: torch.Tensor, *, mode: str = "bicubic") -> torch.Tensor:
    return interpolate(maps, size=(HEIGHT, WIDTH), mode=mode)[0]


def decode(pairs: list[tuple[Path, Path]]) -> None:
    """Read every file into an array, and nothing more."""
    for pair in pairs:
        for path in pair:
            with Image.open(path) as file:
                np.asarray(file)


def loading(recipe: str, root: Path, images: int) -> Callable[[], None]:
    """Every image of the split as a training sample, as a worker makes it."""
    data = load(recipe, [f"data.root={root}", "data.workers=0"]).data
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    loader = training_loader(data.find("train").dataset, data, seed=0, start_step=0, num_steps=1, mean=mean, std=std)
    stream = loader.dataset

    def read() -> None:
        for k in range(images):
            sample = stream[k]
            if isinstance(sample, Exception):
                raise sample

    return read


if __name__ == "__main__":
    main()
