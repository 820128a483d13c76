"""Studies: sets of arms in YAML, shipped or the user's own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pixelcontrast.compare.arms import Arm, is_arm_name
from pixelcontrast.errors import RecipeError, did_you_mean
from pixelcontrast.files import expanded, is_there
from pixelcontrast.recipe.sources import SUFFIXES
from pixelcontrast.recipe.text import read

SHIPPED = Path(str(resources.files("pixelcontrast") / "studies"))
_FORM = "expected a mapping `arms:` from names to lists of KEY=VALUE"


def study_names() -> tuple[str, ...]:
    """Names of the studies that come with the package, such as `memory`."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.yaml")))


def study_path(name: str) -> Path:
    """The file of a study: a path if it ends in .yaml or .yml, else a shipped one's name.

    Raises:
        RecipeError: If there is none; the text names the nearest one.
    """
    path = expanded(name) if name.endswith(SUFFIXES) else SHIPPED / f"{name}.yaml"
    if name.endswith(SUFFIXES) and not is_there(path):
        raise RecipeError(f"--study: no file {path}; a name without .yaml is a shipped study, see `pixelcontrast list`")
    if not name.endswith(SUFFIXES) and name not in study_names():
        near = did_you_mean(name, study_names())
        raise RecipeError(f"--study: no shipped study is called '{name}'; there are {', '.join(study_names())}.{near}")
    return path


def load_study(name: str) -> tuple[Arm, ...]:
    """Read a study's arms; the first is the baseline.

    Raises:
        RecipeError: If there is no such study, or the file is not one.
    """
    path = study_path(name)
    try:
        tree = read(path.read_text(encoding="utf-8"), source=str(path)).tree
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"--study: cannot read {path}: {error}") from None
    arms = tree.get("arms") if isinstance(tree, dict) and set(tree) == {"arms"} else None
    if not isinstance(arms, dict) or len(arms) < 2:
        raise RecipeError(f"{path}: {_FORM}, two or more")
    return tuple(_arm(str(key), changes, path) for key, changes in arms.items())


def _arm(name: str, changes: object, path: Path) -> Arm:
    if not is_arm_name(name):
        raise RecipeError(f"{path}: arm '{name}': expected a name of letters, digits, '_', '-' and '.'")
    if not isinstance(changes, list) or not all(isinstance(change, str) and "=" in change for change in changes):
        raise RecipeError(f"{path}: arm {name}: {_FORM}, got {changes}")
    return Arm(name, tuple(changes))
