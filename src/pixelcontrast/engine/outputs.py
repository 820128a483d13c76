"""Files of predictions: class ids, colours, overlays, probabilities, and label ids for Cityscapes' test server."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from pixelcontrast.data.datasets.cityscapes import LABEL_IDS
from pixelcontrast.data.label_tables import CITYSCAPES, spread_colors
from pixelcontrast.data.transforms import visible
from pixelcontrast.engine.inputs import Frame, Input, require_video_library
from pixelcontrast.engine.pictures import colourise
from pixelcontrast.errors import DataError, RecipeError, did_you_mean
from pixelcontrast.files import written_whole
from pixelcontrast.nn.segmentor import Segmentor

Output = Literal["labels", "colour", "overlay", "probabilities", "cityscapes"]
DEFAULT_OUTPUTS: tuple[Output, ...] = ("labels", "colour", "overlay")
# The server finds the files by what their names begin with: city, sequence, frame.
_CITYSCAPES_NAME = re.compile(r"[a-z-]+_\d{6}_\d{6}")


def choose_outputs(words: Sequence[str]) -> tuple[Output, ...]:
    """The outputs of these names.

    Raises:
        RecipeError: If one is not known, or there is none.
    """
    known = get_args(Output)
    for word in words:
        if word not in known:
            raise RecipeError(f"no output '{word}'; expected some of {', '.join(known)}.{did_you_mean(word, known)}")
    if not words:
        raise RecipeError(f"expected some of {', '.join(known)} to write, got none")
    return tuple(output for output in known if output in words)


class OutputWriter:
    """Writes predictions below a folder, one folder a kind, under the names of their images; a context manager.

    `labels/NAME.png` holds class ids, 8 bits a pixel: there are never more than 254 classes. `colour/NAME.png` is drawn
    in the palette, `overlay/NAME.png` over the image, half and half; a video also gets `overlay/NAME.mp4`.
    `probabilities/NAME.npz` holds `probabilities`, float16 [H W k], and `classes`, the names [k].
    `cityscapes/NAME_pred_labelIds.png` holds label ids for Cityscapes' test server.

    Args:
        folder: Takes the folders.
        outputs: What to write.
        segmentor: Whose names and colours are used; colours are made up where it has none.

    Raises:
        DataError: If label ids of Cityscapes are asked for and the network has other classes.
    """

    def __init__(self, folder: Path, outputs: Sequence[Output], segmentor: Segmentor) -> None:
        if "cityscapes" in outputs and segmentor.class_names != CITYSCAPES.names:
            raise DataError(
                "label ids for Cityscapes' server need a network of its 19 classes; this one has "
                f"{segmentor.num_classes}: {', '.join(segmentor.class_names[:4])}, ..."
            )
        self.outputs = tuple(outputs)
        self._folder = folder
        self._names = segmentor.class_names or tuple(f"class {i}" for i in range(segmentor.num_classes))
        self._palette = segmentor.palette or spread_colors(segmentor.num_classes)
        self._video: _VideoFile | None = None
        self._video_of: Input | None = None

    def __enter__(self) -> OutputWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_video()

    def check_names(self, inputs: Sequence[Input]) -> None:
        """Refuse names that the server of Cityscapes would not find.

        Raises:
            DataError: With the first of them.
        """
        wrong = [
            i.name.name for i in inputs if "cityscapes" in self.outputs and not _CITYSCAPES_NAME.match(i.name.name)
        ]
        if wrong:
            raise DataError(
                f"Cityscapes' server wants names such as berlin_000000_000019_leftImg8bit, got {wrong[0]}; predict the "
                "images under the names they come with"
            )

    def write(self, frame: Frame, labels: Int[Tensor, "H W"]) -> Path:
        """Write what is wanted of one image but its probabilities, and return the folder's path of its first file."""
        colours = np.asarray(colourise(labels, self._palette))
        if "labels" in self.outputs:
            self._save("labels", frame.name, np.asarray(labels.to(torch.uint8)))
        if "colour" in self.outputs:
            self._save("colour", frame.name, colours)
        if "overlay" in self.outputs:
            blend = (0.5 * np.asarray(visible(frame.image).permute(1, 2, 0)) + 0.5 * colours).astype(np.uint8)
            self._save("overlay", frame.name, blend)
            self._add_to_video(frame, blend)
        if "cityscapes" in self.outputs:
            ids = torch.tensor(LABEL_IDS, dtype=torch.uint8)[labels]
            name = frame.name.with_name(frame.name.name.removesuffix("_leftImg8bit") + "_pred_labelIds")
            self._save("cityscapes", name, np.asarray(ids))
        return self._folder / self.outputs[0] / frame.name

    @contextmanager
    def probabilities(self, frames: Sequence[Frame]) -> Iterator[list[ProbabilityFile]]:
        """Files that take the probabilities of images of one size, strip by strip; none if they are not wanted."""
        with ExitStack() as stack:
            files = []
            for frame in frames if "probabilities" in self.outputs else ():
                path = self._place("probabilities", frame.name, ".npz")
                partial = stack.enter_context(written_whole(path))
                shape = (*frame.image.shape[-2:], len(self._names))
                files.append(stack.enter_context(ProbabilityFile(partial, self._names, shape)))
            yield files

    def _save(self, kind: Output, name: Path, values: np.ndarray) -> None:
        with written_whole(self._place(kind, name, ".png"), flush=False) as partial:
            Image.fromarray(values).save(partial, "PNG")

    def _place(self, kind: Output, name: Path, suffix: str) -> Path:
        path = self._folder / kind / name.with_name(name.name + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _add_to_video(self, frame: Frame, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        if self._video is not None and frame.source != self._video_of:
            self._close_video()
        if frame.rate is None:
            return
        if self._video is None:
            path = self._place("overlay", frame.source.name, ".mp4")
            self._video = _VideoFile(path, frame.rate, picture.shape[:2])
            self._video_of = frame.source
        self._video.add(picture)

    def _close_video(self) -> None:
        if self._video is not None:
            self._video.close()
        self._video = self._video_of = None


class ProbabilityFile:
    """An .npz of `probabilities` [H W k] and `classes` [k] that is written from the top, so that memory is bounded.

    Args:
        path: The file.
        classes: Names.
        shape: Height, width and number of classes.
    """

    def __init__(self, path: Path, classes: Sequence[str], shape: tuple[int, ...]) -> None:
        self._path, self._classes, self._shape = path, classes, shape
        self._stack = ExitStack()
        self._member: Any = None

    def __enter__(self) -> ProbabilityFile:
        archive = self._stack.enter_context(zipfile.ZipFile(self._path, "w", zipfile.ZIP_DEFLATED, compresslevel=1))
        with archive.open("classes.npy", "w") as member:
            np.lib.format.write_array(member, np.asarray(self._classes), allow_pickle=False)
        self._member = self._stack.enter_context(archive.open("probabilities.npy", "w", force_zip64=True))
        header = {"descr": "<f2", "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(self._member, header)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, rows: Float[Tensor, "k rows W"]) -> None:
        """Append the next rows."""
        self._member.write(rows.permute(1, 2, 0).half().contiguous().cpu().numpy().astype("<f2").tobytes())


class _VideoFile:
    """An H.264 file of pictures; an odd side loses its last row or column, which the format asks for."""

    def __init__(self, path: Path, rate: float, size: tuple[int, ...]) -> None:
        av = require_video_library()
        self._frame = av.VideoFrame
        self._height, self._width = (side - side % 2 for side in size)
        self._container = av.open(str(path), "w")
        self._stream: Any = self._container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        self._stream.height, self._stream.width, self._stream.pix_fmt = self._height, self._width, "yuv420p"

    def add(self, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """Append a picture of the first one's size."""
        pixels = np.ascontiguousarray(picture[: self._height, : self._width])
        self._container.mux(self._stream.encode(self._frame.from_ndarray(pixels, format="rgb24")))

    def close(self) -> None:
        """Write what is still held, and the end."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
