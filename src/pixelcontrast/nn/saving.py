"""A network as a folder of three files: weights, configuration, model card. It holds no date and no path."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pixelcontrast import __version__
from pixelcontrast.errors import RunError
from pixelcontrast.files import write_text
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.weights import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, read_weights, write_weights

LARGEST = 8192  # classes, channels, rates; statistics of bands may be larger
_MOST_BYTES = 1 << 22
_MOST_BANDS = 1024

CARD = """---
library_name: pixelcontrast
pipeline_tag: image-segmentation
tags: [semantic-segmentation]
---
# {title}

A semantic segmentation network of {num_classes} classes: backbone `{backbone}`, head `{head}`.
Saved by pixelcontrast {version}.

```python
from pixelcontrast import Segmentor

segmentor = Segmentor.from_pretrained("PATH/OR/HUB-ID")  # in eval mode
output = segmentor(image)  # float32 [batch, {channels}, height, width], normalised as below
classes = output.logits.argmax(1)  # at the head's stride; resize the logits first for the image's own size
```

Images are {images}, normalised with mean {mean} and standard deviation {std}.
The weights hold the deployed network alone: neither the projection nor the memory of a contrast training.

| id | class | colour |
|---|---|---|
{classes}
"""


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """What `config.json` says.

    Attributes:
        model: Backbone and head; `pretrained` and `gradient_checkpointing` are always false.
        num_classes: Channels of the logits.
        class_names: One a class, or none.
        palette: A colour a class, or none.
        mean: Per channel, that images are normalised with.
        std: The same for the standard deviation.
        rgb: Whether images are RGB of 8 bits, rather than bands in the units of their files.
    """

    __pydantic_config__ = {"extra": "forbid"}

    model: ModelOptions
    num_classes: int
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb: bool = True

    def __post_init__(self) -> None:
        for name, given in (("class_names", self.class_names), ("palette", self.palette)):
            if len(given) not in (0, self.num_classes):
                raise ValueError(f"expected {self.num_classes} {name} or none, got {len(given)}")
        if self.num_classes < 1 or not all(math.isfinite(value) and value > 0 for value in self.std):
            raise ValueError("num_classes and std must be positive")
        if not all(math.isfinite(value) for value in self.mean):
            raise ValueError("means must be finite")
        bands = (3, 3) if self.rgb else (1, _MOST_BANDS)
        if len(self.mean) != len(self.std) or not bands[0] <= len(self.mean) <= bands[1]:
            raise ValueError(f"expected a mean and a std a band, {bands[0]} to {bands[1]} of them")
        if not all(0 <= value <= 255 for color in self.palette for value in color):
            raise ValueError("colours are numbers from 0 to 255")
        # Where training took its first weights from is of no use to the weights that came out, and may be a path; how
        # it saved memory is of no use either, and a graph to be exported holds none of it.
        trained = dataclasses.replace(self.model, pretrained=False, gradient_checkpointing=False)
        object.__setattr__(self, "model", trained)


def write_model(saved: SavedModel, state: Mapping[str, Tensor], folder: Path) -> None:
    """Write the three files, each whole or not at all; equal networks give equal bytes."""
    config = {"pixelcontrast": __version__} | dataclasses.asdict(saved)
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    write_text(folder / CARD_FILE, _card(saved))
    write_weights(state, folder / WEIGHTS_FILE)  # last: it is what a finished training is known by


def read_model(source: Path | str, *, revision: str | None = None) -> tuple[SavedModel, dict[str, Tensor]]:
    """Read a folder that `write_model` wrote, or a hub repository of the same files.

    Raises:
        RunError: If there is none, or a file is missing or not what it should be.
    """
    folder = _local_folder(source, revision=revision)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise RunError(f"expected {CONFIG_FILE} and {WEIGHTS_FILE} in {folder}, but {name} is not there")
    return _read_config(folder / CONFIG_FILE), read_weights(folder / WEIGHTS_FILE)


def _read_config(path: Path) -> SavedModel:
    """Read a configuration that anyone may have written: types and bounds are checked before a network is made of it.

    Raises:
        RunError: With what is wrong.
    """
    # pydantic is loaded only by those who load a network.
    from pydantic import TypeAdapter, ValidationError

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise TypeError(f"expected a mapping, got {type(config).__name__}")
        config.pop("pixelcontrast", None)
        _check_numbers({name: value for name, value in config.items() if name not in ("mean", "std")})
        saved: SavedModel = TypeAdapter(SavedModel).validate_json(json.dumps(config), strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        reason = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in details[:3])
        raise _unreadable(path, reason) from error
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise _unreadable(path, str(error) or type(error).__name__) from error
    return saved


def _check_numbers(value: Any) -> None:
    """Raise ValueError for a number that could ask for more memory than any network needs."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _check_numbers(each)
    elif isinstance(value, int | float) and not abs(value) <= LARGEST:
        raise ValueError(f"the number {value} is out of bounds; none is above {LARGEST}")


def _unreadable(path: Path, reason: str) -> RunError:
    return RunError(f"{path} is not a configuration that this version ({__version__}) can read: {reason}")


def _local_folder(source: Path | str, *, revision: str | None) -> Path:
    folder = Path(source)
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise RunError(f"expected a folder or the id of a hub repository, got a file: {folder}; name its folder")
    # huggingface_hub is loaded only by those who use a hub.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    wanted = [CONFIG_FILE, WEIGHTS_FILE]
    try:
        return Path(snapshot_download(str(source), revision=revision, allow_patterns=wanted))
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise RunError(
            f"expected a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, or the id of a hub repository (owner/name) that "
            f"can be reached; got '{source}', which is neither: {error}"
        ) from error


def _card(saved: SavedModel) -> str:
    names = saved.class_names or tuple(f"class {i}" for i in range(saved.num_classes))
    colours = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in saved.palette] or [""] * saved.num_classes
    rows = (f"| {i} | {name} | {colour} |" for i, (name, colour) in enumerate(zip(names, colours, strict=True)))
    model = saved.model
    return CARD.format(
        title=f"{model.backbone} + {model.head.name}",
        num_classes=saved.num_classes,
        backbone=model.backbone,
        head=model.head.name,
        version=__version__,
        channels=len(saved.mean),
        images="RGB on a scale of 0 to 1" if saved.rgb else "bands in the units of their files (8 bits: 0 to 1)",
        mean=saved.mean,
        std=saved.std,
        classes="\n".join(rows),
    )
