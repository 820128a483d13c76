"""A run folder: the one home of what lies where, and of whether a run may start, go on, or is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pixelcontrast.engine.checkpoints import newest_whole_checkpoint, set_aside, step_of
from pixelcontrast.errors import RunError
from pixelcontrast.files import PARTIAL, alone_with, clear_partial, write_text


@dataclass(frozen=True)
class EvaluationFolder:
    """What an evaluation leaves: a run folder has its final one, and below `evaluations/` those made later."""

    path: Path

    @property
    def scores(self) -> Path:
        """Scores over the whole split; written last, so its presence says that the evaluation is done."""
        return self.path / "scores.json"

    @property
    def images(self) -> Path:
        """Counts of pixels by image and class."""
        return self.path / "images.npz"

    @property
    def examples(self) -> Path:
        """Image, label and prediction of the worst, the best and evenly spaced images, a file each, for programs."""
        return self.path / "examples"

    @property
    def pictures(self) -> Path:
        """Image, label, prediction and errors on one sheet, for people."""
        return self.path / "pictures"


@dataclass(frozen=True)
class RunFolder(EvaluationFolder):
    """Paths inside a run folder. The folder can be moved: nothing in it names its place."""

    @property
    def recipe(self) -> Path:
        """The fully resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def metrics(self) -> Path:
        """Losses and scores by step, a JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def speed(self) -> Path:
        """Images per second and peak memory by step, a JSON object a line; apart, for they differ from run to run."""
        return self.path / "speed.jsonl"

    @property
    def provenance(self) -> Path:
        """Source, versions, hardware and threads, a JSON object for the start and for each resume."""
        return self.path / "provenance.jsonl"

    @property
    def incidents(self) -> Path:
        """What went wrong and did not stop the run, or did: numbers, files; a JSON object a line, by step."""
        return self.path / "incidents.jsonl"

    @property
    def replay(self) -> Path:
        """Steps whose numbers were not finite, a file each, for `pixelcontrast replay`."""
        return self.path / "replay"

    @property
    def checkpoints(self) -> Path:
        """Everything needed to go on training."""
        return self.path / "checkpoints"

    @property
    def weights(self) -> Path:
        """The deployed network alone."""
        return self.path / "weights.safetensors"

    def evaluation(self, name: str) -> EvaluationFolder:
        """The folder of an evaluation that was asked for after the training."""
        return EvaluationFolder(self.path / "evaluations" / name)

    @property
    def embeddings(self) -> Path:
        """Embeddings of some pixels of a split, for maps."""
        return self.path / "embeddings.npz"

    @property
    def index(self) -> Path:
        """Embeddings of pixels and regions of the training split, to find neighbours in."""
        return self.path / "index.npz"

    @property
    def report(self) -> Path:
        """The page that shows the run."""
        return self.path / "report.html"

    @contextmanager
    def begun(self, recipe_text: str, say: Callable[[str], None], *, resume: bool) -> Iterator[None]:
        """Make the folder, or check that its run may go on, and keep other trainings out of it meanwhile.

        What a killed process left half-written is cleared away. `say` is told if another training is waited for.

        Raises:
            RunError: If the folder is used and `resume` was not asked for, is not a run folder, or if another process
                trains in it.
        """
        inside = self.path.iterdir() if self.path.is_dir() else ()
        used = self.path.is_file() or any(path.suffix != PARTIAL for path in inside)
        if used and not resume:
            raise RunError(
                f"{self.path} is not empty; expected a new folder for a new run.\n"
                "Choose another --run-dir, or add --resume to go on with the run in it."
            )
        if used and not self.recipe.exists():
            raise RunError(f"{self.path} holds files but no recipe.yaml, so it is no run that could be resumed.")
        if not used:
            write_text(self.recipe, recipe_text)
        with alone_with(self.recipe, f"another process trains in {self.path}", say, option="--run-dir"):
            for folder in (self.path, self.checkpoints):
                clear_partial(folder)
            yield

    def resume_point(self, say: Callable[[str], None]) -> Path | None:
        """The newest whole checkpoint; newer ones that are not whole are renamed, and `say` is told what is amiss."""

        def pass_over(checkpoint: Path, reason: str) -> None:
            say(f"passed over {checkpoint}: {reason}; kept as {set_aside(checkpoint).name}")

        checkpoint = newest_whole_checkpoint(self.checkpoints, passed_over=pass_over)
        say(f"resuming at step {step_of(checkpoint)}" if checkpoint else "no checkpoint: starting at step 0")
        return checkpoint

    def require_weights(self) -> Path:
        """The folder, if it holds deployed weights.

        Raises:
            RunError: If there is no such folder, or training has not ended yet.
        """
        if not self.path.is_dir():
            raise RunError(f"no run folder at {self.path}; expected the folder that `pixelcontrast train` wrote.")
        if not self.weights.exists():
            hint = "go on with `pixelcontrast train ... --resume`" if self.recipe.exists() else "name a run folder"
            raise RunError(f"{self.path} has no weights.safetensors: training has not ended there; {hint}.")
        return self.path


def next_run_folder(root: Path) -> Path:
    """The first free of root/1, root/2, ..."""
    number = 1
    while (root / str(number)).exists():
        number += 1
    return root / str(number)
