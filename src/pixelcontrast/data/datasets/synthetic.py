"""Procedural street scenes, drawn once and kept: data that is there without a download."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from PIL import Image

from pixelcontrast.data.label_files import IdFiles
from pixelcontrast.data.label_tables import SYNTHETIC
from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace, raw_id_table
from pixelcontrast.data.options import DataOptions
from pixelcontrast.data.pairing import pair_by_stem
from pixelcontrast.data.scenes.composition import draw_scene
from pixelcontrast.data.sources import Found, PairedFiles
from pixelcontrast.errors import DataError
from pixelcontrast.files import expanded, is_folder
from pixelcontrast.ops.hashing import mix

VERSION = 1  # in the folder's name: raise it with any change of what is drawn
SEED = 20210817
NUM_IMAGES = {"train": 200, "val": 40}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Synthetic(DataOptions):
    """Drawn street scenes, 200 train and 40 val images of 256x512, 11 classes; made at first use, nothing to download.

    Layout: nothing; the scenes are drawn into a folder synthetic-v1/ below data.root, or below the user's cache folder.

    Houses, cars, clothes and signs share their colours, roads and pavements often too, and five kinds of weather change
    all of them, so that shape and context decide. Poles, people, cyclists and signs are thin, small and rare. The
    bonnet of the camera's car and litter bins have no class and are ignored. Image i of a split is a pure function of
    (version, split, i).

    Attributes:
        root: Folder to keep the scenes in (70 MB); by default `pixelcontrast` below $XDG_CACHE_HOME or ~/.cache.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "val")
    published_counts: ClassVar[Mapping[str, tuple[int, ...]]] = {name: (count,) for name, count in NUM_IMAGES.items()}

    name: Literal["synthetic"] = "synthetic"
    crop_size: tuple[int, int] = (128, 256)
    scale: tuple[float, float] = (0.75, 1.5)

    @property
    def label_space(self) -> LabelSpace:
        """Eleven classes of a street."""
        return SYNTHETIC

    def home(self) -> Path:
        """Where the scenes are kept."""
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        above = self.root if self.root is not None else str(Path(cache) / "pixelcontrast")
        return expanded(above) / f"synthetic-v{VERSION}"

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> Path:
        """Draw the scenes unless they are there: half a minute on one core.

        They are drawn beside their place and moved there when complete, so that two processes can do it at once and an
        interrupted one leaves nothing half done.

        Args:
            progress: Called with the number of images drawn and of all images.

        Raises:
            DataError: If the folder cannot be written to.
        """
        home = self.home()
        if is_folder(home):
            return home
        try:
            home.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{home.name}-", dir=home.parent))
        except (OSError, ValueError) as error:  # a zero byte in a name is a ValueError
            raise DataError(
                f"{home.parent}: expected a folder to draw the synthetic scenes into, got '{error}'; "
                "set data.root=PATH to one that can be written"
            ) from error
        logger.info("drawing %d scenes into %s (once)", sum(NUM_IMAGES.values()), home)
        try:
            _draw_all(draft, progress)
            draft.chmod(0o755)
            draft.rename(home)
        except OSError:
            if not home.is_dir():  # else another process was first, with the same scenes
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return home

    def find(self, split: str) -> Found:
        """Draw the scenes if they are not there yet, and list a split."""
        home = self.prepare()
        pairing = pair_by_stem(home / split, home / f"{split}annot", layout=f"the drawn scenes; delete {home}")
        ids = IdFiles(
            raw_id_table({i: i for i in range(SYNTHETIC.num_classes)} | {IGNORE_INDEX: IGNORE_INDEX}),
            advice=f"The file was changed; delete {home} and it is drawn again",
        )
        return Found(PairedFiles(pairing.pairs, SYNTHETIC, ids), pairing.leftovers)


def scene(split: str, index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw image [3 256 512] and labels [256 512], both uint8, of one index of a split."""
    seed = mix(SEED, VERSION, list(NUM_IMAGES).index(split), index)
    image, labels = draw_scene(np.random.default_rng(seed))
    return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(labels)


def _draw_all(folder: Path, progress: Callable[[int, int], None] | None) -> None:
    done, total = 0, sum(NUM_IMAGES.values())
    for split, count in NUM_IMAGES.items():
        (folder / split).mkdir()
        (folder / f"{split}annot").mkdir()
        for index in range(count):
            image, labels = scene(split, index)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / split / f"{index:04d}.png", compress_level=1)
            Image.fromarray(labels.numpy()).save(folder / f"{split}annot" / f"{index:04d}.png", compress_level=6)
            done += 1
            if progress is not None:
                progress(done, total)
