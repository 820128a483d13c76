"""Files of weights: safetensors out, safetensors or weights-only pth in; nothing here can run code from a file."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from pixelcontrast.errors import RunError
from pixelcontrast.files import is_there, written_whole

WEIGHTS_FILE = "weights.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "README.md"


def write_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors: equal tensors give equal bytes, with no date and no path inside."""
    with written_whole(path) as partial:
        # written here, for safetensors' own writer leaves a file that no other user may read
        partial.write_bytes(save({key: value.detach().cpu().contiguous() for key, value in state.items()}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Raises:
        RunError: If there is no such file, or it is not safetensors.
    """
    if not is_there(path):
        raise RunError(f"expected a file of weights, found none: {path}")
    try:
        return load_file(path)
    except Exception as error:  # SafetensorError, and whatever a tensor of an odd type or size raises in torch
        raise RunError(f"expected safetensors, got something else or a damaged file: {path} ({error})") from error


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, or of a pth file with nothing but tensors in it.

    A pth file may hold them under `state_dict` or `model`, as trainers write it.

    Raises:
        RunError: If there is no such file, or it cannot be read without running code from it.
    """
    if path.suffix == ".safetensors":
        return read_weights(path)
    try:
        content = load_plain(path)
    except RunError as error:
        raise RunError(f"{error}; save the model's state_dict() as safetensors and give that file") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = content if isinstance(content, dict) else {}
    state = {str(key): value for key, value in tensors.items() if isinstance(value, Tensor)}
    if not state:
        raise RunError(f"expected a dictionary of tensors, found none in {path}")
    return state


def load_plain(path: Path, *, mapped: bool = False) -> Any:
    """Read what torch has saved, if it is tensors and plain values; the one place where such files are opened.

    Code inside is never run, and no more is read than the file holds: an archive with compressed or overlapping
    entries, of which some megabytes can stand for gigabytes, is none that torch wrote.

    Args:
        path: The file.
        mapped: Read tensors when they are used, for a file of which few are.

    Raises:
        RunError: If it is missing, damaged, or holds anything else.
    """
    if not is_there(path):
        raise RunError(f"expected a file of weights, found none: {path}")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("its entries are compressed")
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise ValueError("its entries overlap")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how the file was pickled; what it holds is what counts
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # the unpickler, the zip reader and torch each raise their own
        # Torch's own words for the first go on to explain how to run the code.
        reason = "what might be code" if type(error).__name__ == "UnpicklingError" else str(error).partition("\n")[0]
        raise RunError(
            f"expected tensors and plain values, but {path} holds something else or is damaged "
            f"({type(error).__name__}: {reason})"
        ) from error


def load_weights(module: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Copy tensors into a module whose names and shapes they must match exactly.

    Raises:
        RunError: Naming the first tensors that are missing, too many or of another shape.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - state.keys())
    unknown = sorted(state.keys() - own.keys())
    other = sorted(key for key in own.keys() & state.keys() if own[key].shape != state[key].shape)
    if missing or unknown or other:
        found = [f"{len(missing)} missing {missing[:3]}" if missing else ""]
        found += [f"{len(unknown)} unknown {unknown[:3]}" if unknown else ""]
        found += [f"{key} is {tuple(state[key].shape)}, not {tuple(own[key].shape)}" for key in other[:3]]
        raise RunError(
            f"the weights in {source} are of another model: {'; '.join(filter(None, found))}. "
            "Use the weights together with the configuration they were saved with."
        )
    module.load_state_dict(dict(state))
