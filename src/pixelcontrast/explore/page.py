"""The page: Gradio components, and which event asks whom. What it shows is computed elsewhere."""

from __future__ import annotations

import functools
import html
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from pixelcontrast.errors import UserError
from pixelcontrast.explore.answers import View
from pixelcontrast.explore.desk import Desk
from pixelcontrast.explore.handlers import Handlers, Session
from pixelcontrast.explore.panels import Panels, asset
from pixelcontrast.explore.runs import Kind

STALE = 6 * 3600  # seconds after which a session, and what it dropped or exported, is forgotten
_VIEWS: tuple[tuple[str, View], ...] = (
    ("Prediction", "prediction"),
    ("Like the pixel", "similarity"),
    ("Label", "label"),
    ("Errors", "errors"),
    ("Doubt", "entropy"),
    ("Far from memory", "memory"),
    ("Far from training", "index"),
)
_KINDS: tuple[tuple[str, Kind], ...] = (("Tapped features", "features"), ("Projected", "projected"))
_OPACITY = "(value) => { document.body.style.setProperty('--layer-opacity', value); }"


@dataclass(frozen=True)
class Column:
    """The components of one run."""

    viewer: gr.HTML
    scale: gr.HTML
    reading: gr.HTML
    kin: gr.HTML


class Page:
    """Lays the page out and wires it.

    Args:
        desk: Answers its questions.
        data: What the data set is called.
        folder: Where files to be downloaded are put.

    Attributes:
        blocks: The Gradio application.
    """

    def __init__(self, desk: Desk, *, data: str, folder: Path) -> None:
        self.desk, self.panels = desk, Panels(desk.space)
        self.handlers = Handlers(desk, self.panels, folder)
        with gr.Blocks(title="pixelcontrast", analytics_enabled=False, delete_cache=(3600, STALE)) as self.blocks:
            self.session = gr.State(Session(), time_to_live=STALE)
            head = self.panels.head(runs=[run.title for run in desk.runs], data=data)
            gr.HTML(head, js_on_load=asset("theme.js"), apply_default_css=False)
            self.notice = gr.HTML(
                {},
                html_template=asset("notice.html"),
                js_on_load=asset("notice.js"),
                apply_default_css=False,
                padding=False,
                elem_id="notice",
            )
            with gr.Tabs():
                with gr.Tab("Image", id="image"):
                    self._lay_out_choice()
                    self._lay_out_looks()
                    self._lay_out_columns()
                    self._lay_out_others()
                with gr.Tab("Suspect labels", id="suspects"):
                    self._lay_out_suspects()
            self._wire()

    def _lay_out_choice(self) -> None:
        splits = self.desk.splits.names
        first = splits[0] if splits else None
        with gr.Row(elem_classes="choice"):
            self.split = gr.Dropdown(list(splits), value=first, label="Split", scale=1, min_width=110)
            self.name = gr.Dropdown([], label="Image", allow_custom_value=True, scale=3, min_width=180, elem_id="name")
            with gr.Row(elem_classes="steps"):
                self.before = gr.Button("◀", min_width=48, elem_id="before")
                self.after = gr.Button("▶", min_width=48, elem_id="after")
            self.dropped = gr.File(
                label="Or drop an image", file_types=["image"], height=84, scale=4, min_width=260, elem_id="dropped"
            )

    def _lay_out_looks(self) -> None:
        kinds = [(words, kind) for words, kind in _KINDS if kind in self.desk.kinds]
        with gr.Row():
            self.view = gr.Radio(list(_VIEWS), value="prediction", label="Over the image", scale=6, elem_id="view")
            self.kind = gr.Radio(kinds, value="features", label="Embeddings", scale=3, min_width=220, elem_id="kind")
            self.opacity = gr.Slider(0, 1, 0.7, step=0.05, label="Opacity", scale=2, min_width=160, elem_id="opacity")

    def _lay_out_columns(self) -> None:
        several = len(self.desk.runs) > 1
        self.columns: list[Column] = []
        with gr.Row(elem_classes="runs"):
            for number, run in enumerate(self.desk.runs):
                with gr.Column(min_width=320, scale=3):
                    if several:
                        _panel(f"run-{number}", f'<p class="run-title">{html.escape(run.title)}</p>')
                    viewer = gr.HTML(
                        {},
                        html_template=asset("viewer.html"),
                        js_on_load=asset("viewer.js"),
                        apply_default_css=False,
                        padding=False,
                        elem_id=f"viewer-{number}",
                    )
                    scale, reading = _panel(f"scale-{number}"), _panel(f"reading-{number}")
                    if several:
                        self.columns.append(Column(viewer, scale, reading, _panel(f"kin-{number}")))
                if not several:
                    with gr.Column(min_width=320, scale=2):
                        self.columns.append(Column(viewer, scale, reading, _panel(f"kin-{number}")))

    def _lay_out_others(self) -> None:
        with gr.Row():
            _panel("elsewhere-title", "<h3>Other images of the split, asked the same</h3>")
            self.redraw = gr.Button("Draw others", size="sm", scale=0, min_width=130, elem_id="redraw")
        with gr.Row(elem_classes="runs"):
            self.elsewhere = [
                gr.HTML(
                    "",
                    js_on_load=asset("opener.js"),
                    apply_default_css=False,
                    padding=False,
                    elem_id=f"elsewhere-{number}",
                    min_width=320,
                )
                for number in range(len(self.desk.runs))
            ]
        with gr.Accordion("What is shown", open=False):
            gr.Markdown(asset("help.md"))

    def _lay_out_suspects(self) -> None:
        titles = [(run.title, number) for number, run in enumerate(self.desk.runs)]
        classes = [("all classes", -1), *((name, i) for i, name in enumerate(self.desk.space.names))]
        with gr.Row(elem_classes="asking"):
            self.asked_run = gr.Dropdown(titles, value=0, label="Embeddings of", visible=len(titles) > 1, min_width=240)
            self.asked_class = gr.Dropdown(classes, value=-1, label="Labelled", min_width=160)
            self.least = gr.Number(100, label="Least pixels of a region", precision=0, min_width=160)
            self.find = gr.Button("Find suspects", variant="primary", min_width=180, elem_id="find")
            self.as_csv = gr.DownloadButton("CSV", min_width=80, interactive=False, elem_id="csv")
            self.as_json = gr.DownloadButton("JSON", min_width=80, interactive=False, elem_id="json")
        self.suspects = gr.HTML("", js_on_load=asset("opener.js"), apply_default_css=False, elem_id="suspects")

    def _wire(self) -> None:
        ask, viewers = self.handlers, [column.viewer for column in self.columns]
        self._open_on(self.blocks.load, ask.open_first, [self.split])
        self._open_on(self.split.input, ask.open_first, [self.split])
        self._open_on(self.name.input, ask.open_named, [self.split, self.name])
        self._open_on(self.before.click, ask.open_before, [self.split])
        self._open_on(self.after.click, ask.open_after, [self.split])
        self._open_on(self.dropped.upload, ask.open_dropped, [self.dropped])
        for opener in (*self.elsewhere, self.suspects):
            self._open_on(opener.open, ask.open_asked, [])
        picked = [self.session, self.view, *viewers, *self._all("scale"), *self._all("reading")]
        for viewer in viewers:
            event = self._quietly(viewer.pick, ask.pick, [self.session, self.kind], picked, trigger_mode="always_last")
            self._then_kin(event)
        shown = [*viewers, *self._all("scale")]
        self._quietly(self.view.input, ask.show, [self.session, self.view, self.kind], shown)
        self._then_kin(self._quietly(self.kind.input, ask.show, [self.session, self.view, self.kind], shown))
        self._then_elsewhere(self._quietly(self.redraw.click, ask.draw_others, [self.session], [self.session]))
        self.opacity.input(None, self.opacity, None, js=_OPACITY, show_progress="hidden")
        asked = [self.asked_run, self.asked_class, self.least, self.kind]
        self._listen(self.find.click, ask.find_suspects, asked, [self.suspects, self.as_csv, self.as_json])

    def _open_on(self, listen: Callable[..., Any], handler: Callable[..., Any], inputs: Sequence[Any]) -> None:
        """Open an image where something happens, then look at the others."""
        opened = [self.session, self.split, self.name, self.view]
        for part in ("viewer", "scale", "reading", "kin"):
            opened += self._all(part)
        given = [self.session, self.view, self.kind, *inputs]
        self._then_elsewhere(self._listen(listen, handler, given, opened, anew=True))

    def _listen(
        self,
        listen: Callable[..., Any],
        handler: Callable[..., list[Any]],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        *,
        anew: bool = False,
        **more: Any,
    ) -> Any:
        """Ask when something happens: one request, whose answer, or what was the user's mistake, comes back on it.

        With `anew` the answer also takes away what was said of an earlier mistake.

        Gradio's queue sends answers over a stream of their own, which it closes as soon as none is due: what is asked
        for at that moment can be lost. Its own messages of errors come by the queue alone.
        """

        @functools.wraps(handler)
        def asked(*arguments: Any) -> Any:
            try:
                return [*handler(*arguments), {} if anew else gr.skip()]
            except UserError as error:
                return self._notice(str(error))
            except Exception:
                traceback.print_exc()
                return self._notice("This failed, which is a fault of the explorer; its terminal says what happened.")

        return listen(asked, list(inputs), [*outputs, self.notice], queue=False, api_visibility="private", **more)

    def _notice(self, text: str) -> dict[Any, Any]:
        return {self.notice: {"text": text, "at": time.time_ns()}}  # twice the same is said twice

    def _quietly(self, *arguments: Any, **more: Any) -> Any:
        """Listen without a spinner over what is about to change."""
        return self._listen(*arguments, show_progress="hidden", **more)

    def _then_kin(self, event: Any) -> None:
        found = self._quietly(event.success, self.handlers.find_kin, [self.session, self.kind], self._all("kin"))
        self._then_elsewhere(found)

    def _then_elsewhere(self, event: Any) -> None:
        self._quietly(event.success, self.handlers.look_elsewhere, [self.session, self.kind], self.elsewhere)

    def _all(self, part: str) -> list[Any]:
        return [getattr(column, part) for column in self.columns]


def _panel(name: str, content: str = "") -> gr.HTML:
    return gr.HTML(content, apply_default_css=False, elem_id=name)
