"""What is to be predicted: images and videos, named one by one, by folders or by patterns; and their frames."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Real
from torch import Tensor

from pixelcontrast.data.bands import read_bands
from pixelcontrast.data.decoding import IMAGE_SUFFIXES, read_image
from pixelcontrast.errors import DataError, RunError
from pixelcontrast.files import expanded, is_folder, is_there
from pixelcontrast.types import BandStatistics

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


@dataclass(frozen=True)
class Input:
    """A file to predict.

    Attributes:
        name: Where it lies below what was asked for, without its suffix: its outputs are called so.
        file: Where it is.
    """

    name: Path
    file: Path

    @property
    def is_video(self) -> bool:
        """Whether its suffix is that of a video."""
        return self.file.suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class Frame:
    """One image to predict.

    Attributes:
        name: Of its outputs; that of a video's frame is its number, from 0, below the video's name.
        image: RGB, 0 to 255; or the bands that the network takes.
        source: The file it comes from.
        rate: Frames a second of its video; None for an image.
    """

    name: Path
    image: Real[Tensor, "c H W"]
    source: Input
    rate: float | None = None


def find_inputs(given: Sequence[str | Path], *, leave_out: Path | None = None) -> list[Input]:
    """Files by where they lie below what was asked for: images, videos, folders of them, or patterns with * ? [ ].

    Args:
        given: What was asked for.
        leave_out: A folder whose files are taken only by name: where outputs go, which are no inputs of the next time.

    Raises:
        DataError: If one does not exist or holds no image or video, or two files would get one name.
    """
    found: dict[Path, Input] = {}
    for each in given:
        for file, name in _files_of(each, leave_out):
            known = found.setdefault(name.with_suffix(""), Input(name.with_suffix(""), file))
            if known.file != file and not known.file.samefile(file):
                raise DataError(
                    f"{file} and {known.file} would both be written as {known.name}; rename one, or predict them apart."
                )
    videos = {source.name: source.file for source in found.values() if source.is_video}
    for source in found.values():
        if video := next((videos[above] for above in source.name.parents if above in videos), None):
            raise DataError(
                f"{source.file} and the frames of {video} would be written into one folder; rename one, or predict them"
                " apart."
            )
    return list(found.values())


def frames_of(source: Input, bands: BandStatistics | None = None) -> Iterator[Frame]:
    """The image, or the frames of a video one after another.

    Args:
        source: The file.
        bands: Of the images that the network takes, if that is not RGB.

    Raises:
        DataError: If the file cannot be read, or a video ends early, after the frames that could be; or if bands are
            wanted of a video.
        RunError: If a video is given and PyAV, which reads it, is not installed.
    """
    if not source.is_video:
        image = read_image(source.file) if bands is None else read_bands(source.file, bands)
        yield Frame(source.name, image, source)
        return
    if bands is not None:
        raise DataError(f"{source.file}: expected images of {len(bands.mean)} bands, got a video, which is RGB")
    yield from _frames_of_video(source)


def count_frames(source: Input) -> int:
    """How many frames a file says it has; 1 for an image, or a video that does not say."""
    if not source.is_video:
        return 1
    av = require_video_library()
    try:
        with av.open(str(source.file)) as container:
            return container.streams.video[0].frames or 1
    except (av.FFmpegError, IndexError, OSError):
        return 1


def require_video_library() -> Any:  # noqa: ANN401 - a module that may not be installed
    """PyAV's module.

    Raises:
        RunError: If it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise RunError("videos need PyAV, which is not installed: pip install 'pixelcontrast[video]'") from error
    return av


def _frames_of_video(source: Input) -> Iterator[Frame]:
    av = require_video_library()
    try:
        with av.open(str(source.file)) as container:
            yield from _frames_in(container, source)
    except (av.FFmpegError, IndexError, OSError) as error:
        raise DataError(f"{source.file}: expected a video, got a file that does not decode: {error}") from error


def _frames_in(container: Any, source: Input) -> Iterator[Frame]:  # noqa: ANN401 - of a library that may not be installed
    if not container.streams.video:
        raise DataError(f"{source.file}: expected a video, got a file without pictures, such as sound alone")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    rate = float(stream.average_rate or 25)
    stated, end, number = _stated_end(container, stream), 0.0, 0
    for packet in container.demux(stream):
        if packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        for frame in packet.decode():
            if min(frame.height, frame.width) < 2:  # which H.264 cannot hold, nor so its overlay
                size = f"{frame.height}x{frame.width}"
                raise DataError(f"{source.file}: expected a video of at least 2x2 pixels, got {size}")
            pixels = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
            yield Frame(source.name / f"{number:06d}", pixels, source, rate)
            number += 1
    if stated - end > max(1.0, 0.05 * stated):  # a decoder does not always say that the file was cut off
        raise DataError(
            f"{source.file}: expected a video of {stated:.1f} s, as it says, got one that ends after {end:.1f} s, whose"
            " frames are predicted; it was cut off or is damaged: copy or download it again"
        )


def _stated_end(container: Any, stream: Any) -> float:  # noqa: ANN401 - of a library that may not be installed
    """When the pictures of a video end, in seconds, by what the file says; 0 if it does not say."""
    if stream.duration is not None and container.duration is not None:
        # the stream's holds what an edit hides, the container's the sound that goes on
        start = (stream.start_time or 0) * stream.time_base
        return float(min(start + stream.duration * stream.time_base, container.duration / 1e6))
    tag = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d*)?)", stream.metadata.get("DURATION", ""))  # of Matroska
    return sum(float(part) * unit for part, unit in zip(tag.groups(), (3600, 60, 1), strict=True)) if tag else 0.0


def _files_of(given: str | Path, leave_out: Path | None) -> list[tuple[Path, Path]]:
    """Files of one thing that was asked for, and their names below it."""
    path = expanded(str(given))
    if is_there(path):
        return [(path, Path(path.name))]
    suffixes = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
    if is_folder(path):
        above, found = path, [*path.rglob("*")]
    elif glob.has_magic(str(path)):
        first = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
        above = Path(*path.parts[:first])
        try:
            found = [*above.glob(str(Path(*path.parts[first:])))]
        except ValueError as error:  # pathlib's own words say what is amiss
            raise DataError(f"{given} is no pattern that can be looked for: {error}") from error
    else:
        raise DataError(f"no file or folder at {given}; name images, videos, folders of them, or a pattern.")
    files = sorted(p for p in found if p.suffix.lower() in suffixes and not p.name.startswith(".") and p.is_file())
    kept = [p for p in files if leave_out is None or leave_out.resolve() not in p.resolve().parents]
    if files and not kept:
        raise DataError(
            f"all images and videos in {given} lie in {leave_out}, where outputs go, which are no inputs; name another"
            " folder with --output."
        )
    if not files:
        raise DataError(f"no image or video in {given}; looked for {', '.join(suffixes)}.")
    return [(file, file.relative_to(above)) for file in kept]
