"""In which options two recipes differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pixelcontrast.errors import RecipeError, RunError
from pixelcontrast.recipe.kinds import plain
from pixelcontrast.recipe.root import Recipe, load
from pixelcontrast.recipe.text import KeyPath, dotted

# What may change between two sessions of one run: where and how fast it runs, not what comes out.
_ENVIRONMENT = {"root", "workers", "cache", "accelerator", "devices", "num_nodes", "strategy"}
_ENVIRONMENT |= {"evaluate_every", "checkpoint_every", "keep_checkpoints", "log_every", "logger"}
_ENVIRONMENT |= {"live_images", "live_pixels"}
# What happens to a fault: a run that one has stopped can go on in another way.
_ENVIRONMENT |= {"on_error", "max_unreadable", "non_finite", "spike_factor"}


def differences(old: object, new: object, *, environment: bool = False) -> tuple[str, ...]:
    """Options that decide a result and differ: `trainer.max_steps: 100, now 200` each.

    Args:
        old: A recipe.
        new: Another.
        environment: Name those too that may change between two sessions of one run, such as `data.root`.
    """
    before, after = dict(_leaves(plain(old), ())), dict(_leaves(plain(new), ()))
    found = []
    for path in dict.fromkeys((*before, *after)):
        if any(path[:end] in before or path[:end] in after for end in range(1, len(path))):
            continue  # below a section that one of the two has not, which a line of its own tells
        was, now = _shown(path, before), _shown(path, after)
        if was != now and (environment or not _is_environment(path)):
            found.append(f"{dotted(path)}: {was}, now {now}")
    return tuple(found)


def changed_since(begun: Path, recipe: Recipe) -> tuple[str, ...]:
    """What of a recipe differs from the one that a run was begun with; nothing if it was not begun.

    Args:
        begun: The recipe.yaml of its folder.
        recipe: The recipe it shall go on with.

    Raises:
        RunError: If the file cannot be read.
    """
    if not begun.exists():
        return ()
    try:
        before = load(str(begun))
    except RecipeError as error:
        raise RunError(
            f"{begun}, with which the run was begun, cannot be read: {error}\nPut back what it held, which "
            "`pixelcontrast train RECIPE --print-recipe` shows, or begin a new run in another folder."
        ) from error
    return differences(before, recipe)


def _shown(path: KeyPath, leaves: Mapping[KeyPath, object]) -> object:
    below = any(other[: len(path)] == path for other in leaves)
    return leaves.get(path, "given" if below else "not there")


def _is_environment(path: KeyPath) -> bool:
    if path[0] == "data":  # of a part of a joint data set, too
        return path[-1] in _ENVIRONMENT and (len(path) == 2 or path[-2] == "data")
    return len(path) == 2 and path[0] == "trainer" and path[1] in _ENVIRONMENT


def _leaves(tree: object, path: KeyPath) -> list[tuple[KeyPath, object]]:
    if isinstance(tree, dict):
        return [leaf for key, value in tree.items() for leaf in _leaves(value, (*path, key))]
    if isinstance(tree, list) and any(isinstance(entry, dict) for entry in tree):
        return [leaf for index, value in enumerate(tree) for leaf in _leaves(value, (*path, index))]
    return [(path, tree)]
