"""What happens when a person does something on the page: a session and values in, what components show out."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr

from pixelcontrast.errors import DataError
from pixelcontrast.explore.answers import Pixel, View
from pixelcontrast.explore.choices import Choice
from pixelcontrast.explore.desk import Desk
from pixelcontrast.explore.panels import Panels
from pixelcontrast.explore.runs import Kind
from pixelcontrast.explore.suspects import Suspect, as_csv, as_json

MOST_NAMES = 1000  # in the list of images; any other can be typed
MOST_SUSPECTS = 48


@dataclass
class Latest:
    """The image that one user opened last; all sessions of that user share it."""

    choice: Choice | None = None


@dataclass(frozen=True)
class Session:
    """What one user looks at.

    Attributes:
        choice: The image; None before there is one.
        pixel: The pixel they chose.
        draw: Number of the draw of other images.
        latest: What they opened last.
    """

    choice: Choice | None = None
    pixel: Pixel | None = None
    draw: int = 0
    latest: Latest = field(default_factory=Latest)


def unless_left(handler: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Change nothing on the page if another image was opened while the answer was computed."""

    @functools.wraps(handler)
    def answer(self: Handlers, session: Session, *arguments: Any) -> list[Any]:
        found = handler(self, session, *arguments)
        return found if session.latest.choice == session.choice else [gr.skip()] * len(found)

    return answer


class Handlers:
    """Answers events of the page.

    Args:
        desk: Computes the answers.
        panels: Writes them.
        folder: Where files to be downloaded are put.
    """

    def __init__(self, desk: Desk, panels: Panels, folder: Path) -> None:
        self.desk, self.panels, self.folder = desk, panels, folder

    def open_first(self, session: Session, view: View, kind: Kind, split: str | None) -> list[Any]:
        """Open the first image of a split; nothing if there is no split."""
        if not split:
            return [gr.skip()] * (4 + 4 * len(self.desk.runs))
        return self.open(session, view, kind, Choice(split, self._names(split)[0]))

    def open_named(self, session: Session, view: View, kind: Kind, split: str | None, name: str) -> list[Any]:
        """Open an image of a split; only names of the data set are looked for."""
        if split is None or split not in self.desk.splits.names:  # it would be taken for the path of a file
            raise DataError("no such split")
        return self.open(session, view, kind, Choice(split, name))

    def open_before(self, session: Session, view: View, kind: Kind, split: str) -> list[Any]:
        """Open the image before this one, the last one after the first."""
        return self.open_named(session, view, kind, split, self._name_from(session, split, -1))

    def open_after(self, session: Session, view: View, kind: Kind, split: str) -> list[Any]:
        """Open the image after this one, the first one after the last."""
        return self.open_named(session, view, kind, split, self._name_from(session, split, 1))

    def open_dropped(self, session: Session, view: View, kind: Kind, path: str | None) -> list[Any]:
        """Open a file that was dropped."""
        if path is None:
            raise DataError("the file did not arrive; drop it again")
        return self.open(session, view, kind, Choice("", path))

    def open_asked(self, session: Session, view: View, kind: Kind, event: gr.EventData) -> list[Any]:
        """Open an image whose picture was pressed."""
        return self.open_named(session, view, kind, str(event.split), str(event.name))

    def open(self, session: Session, view: View, kind: Kind, choice: Choice) -> list[Any]:
        """What all components show of an image of which no pixel is chosen yet: those of `page.opened`, in order."""
        session = replace(session, choice=choice, pixel=None)
        view = "prediction" if view == "similarity" else view
        photo = self.desk.photo(choice)
        split, name = gr.skip(), gr.Dropdown(value=choice.title, allow_custom_value=True)
        if choice.split:
            names = self._names(choice.split)
            shown = names if len(names) <= MOST_NAMES else names[:: -(-len(names) // MOST_NAMES)]
            split, name = choice.split, gr.Dropdown(list(shown), value=choice.name, allow_custom_value=True)
        viewers, scales = self._layers(session, view, kind)
        start = {"photo": photo, "title": choice.title, "cross": None}
        nothing = [""] * len(self.desk.runs)
        hints = [self.panels.hint()] * len(self.desk.runs)
        session.latest.choice = choice
        return [session, split, name, view, *[start | viewer for viewer in viewers], *scales, *nothing, *hints]

    @unless_left
    def pick(self, session: Session, kind: Kind, event: gr.EventData) -> list[Any]:
        """Ask about a pixel, given by its place from 0 to 1 across and down."""
        choice = session.choice
        if choice is None:
            raise DataError("choose an image first")
        height, width = self.desk.look(0, choice).picture.size
        across, down = (min(max(float(place), 0.0), 1.0) for place in (event.x, event.y))
        pixel = min(int(down * height), height - 1), min(int(across * width), width - 1)
        session = replace(session, pixel=pixel)
        viewers, scales = self._layers(session, "similarity", kind)
        cross = [(pixel[1] + 0.5) / width, (pixel[0] + 0.5) / height]
        readings = [self.panels.reading(self.desk.read(run, choice, pixel)) for run in self._runs]
        return [session, "similarity", *[viewer | {"cross": cross} for viewer in viewers], *scales, *readings]

    @unless_left
    def show(self, session: Session, view: View, kind: Kind) -> list[Any]:
        """Lay something else over the image."""
        viewers, scales = self._layers(session, view, kind)
        return [*viewers, *scales]

    @unless_left
    def find_kin(self, session: Session, kind: Kind) -> list[str]:
        """Training regions and pixels like the chosen one."""
        choice, pixel = session.choice, session.pixel
        if choice is None or pixel is None:
            return [""] * len(self.desk.runs)
        return [
            self.panels.kin(*(self.desk.kin(run, choice, kind, pixel, part) for part in ("region", "pixel")))
            for run in self._runs
        ]

    @unless_left
    def look_elsewhere(self, session: Session, kind: Kind) -> list[str]:
        """Other images of the split, with what in them is like the chosen pixel."""
        if session.choice is None or not self.desk.splits.names:
            return [""] * len(self.desk.runs)
        split = session.choice.split or self.desk.splits.names[0]
        others = self.desk.others(split, but=session.choice, draw=session.draw)
        return [
            self.panels.elsewhere(self.desk.elsewhere(run, session.choice, kind, session.pixel, others))
            for run in self._runs
        ]

    def draw_others(self, session: Session) -> list[Session]:
        """Draw other images."""
        return [replace(session, draw=session.draw + 1)]

    def find_suspects(self, run: int, label: int, least: float | None, kind: Kind) -> list[Any]:
        """List training regions whose neighbours disagree, and write them to files."""
        index = self.desk.runs[run].index
        found = self.desk.suspects(run, kind)
        if isinstance(found, str) or index is None:
            shown = self.panels.suspects(str(found), total=0, unfiltered=0, regions=0, kind=kind, split="")
            return [shown, gr.DownloadButton(interactive=False), gr.DownloadButton(interactive=False)]
        chosen = [each for each in found if label in (-1, each.label) and each.size >= (least or 0)]
        with_crops = [(each, self.desk.suspect_crop(run, each)) for each in chosen[:MOST_SUSPECTS]]
        regions = len(index.labels("region"))
        shown = self.panels.suspects(
            with_crops, total=len(chosen), unfiltered=len(found), regions=regions, kind=kind, split=index.split
        )
        files = self._write_files(chosen, index.split)
        return [shown, *(gr.DownloadButton(value=str(file), interactive=bool(chosen)) for file in files)]

    @property
    def _runs(self) -> range:
        return range(len(self.desk.runs))

    def _names(self, split: str) -> Sequence[str]:
        names = self.desk.splits.images(split)
        if not names:
            raise DataError(f"the {split} split has no images")
        return names

    def _name_from(self, session: Session, split: str, steps: int) -> str:
        names = self._names(split)
        here = session.choice
        start = names.index(here.name) if here is not None and here.split == split and here.name in names else 0
        return names[(start + steps) % len(names)]

    def _layers(self, session: Session, view: View, kind: Kind) -> tuple[list[dict[str, Any]], list[str]]:
        """What each run's viewer and scale show."""
        if session.choice is None:
            return [{} for _ in self._runs], [""] * len(self.desk.runs)
        viewers, scales = [], []
        for run in self._runs:
            layer = self.desk.layer(run, session.choice, view, kind, session.pixel)
            viewers.append({"layer": layer.uri, "note": layer.note})
            scales.append(self.panels.scale(layer, view, self.desk.legend(run, session.choice, view)))
        return viewers, scales

    def _write_files(self, suspects: Sequence[Suspect], split: str) -> tuple[Path, Path]:
        """A CSV and a JSON, in a folder of their own: another user may ask at the same time."""
        folder = Path(tempfile.mkdtemp(prefix="suspects-", dir=self.folder))
        names = self.desk.space.names
        table, tree = folder / "suspects.csv", folder / "suspects.json"
        table.write_text(as_csv(suspects, names), encoding="utf-8")
        tree.write_text(as_json(suspects, names, split=split), encoding="utf-8")
        return table, tree
