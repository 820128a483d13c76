"""What an event may ask for, whoever sends it."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pixelcontrast.errors import DataError
from pixelcontrast.explore.desk import Desk
from pixelcontrast.explore.panels import Panels
from pixelcontrast.explore.runs import ExploredRun

pytest.importorskip("gradio", reason="needs Gradio (pip install 'pixelcontrast[explore]')")


@pytest.mark.parametrize("split", [None, "", "elsewhere"])
def test_no_file_of_the_server_is_opened_by_its_path(explored: ExploredRun, tmp_path: Path, split: str | None) -> None:
    from pixelcontrast.explore.handlers import Handlers, Session

    Image.new("RGB", (32, 32)).save(tmp_path / "private.png")
    desk = Desk([explored])
    handlers = Handlers(desk, Panels(desk.space), tmp_path)
    with pytest.raises(DataError, match="no such split"):
        handlers.open_named(Session(), "prediction", "features", split, str(tmp_path / "private.png"))


def test_an_answer_about_an_image_that_was_left_changes_nothing(explored: ExploredRun, tmp_path: Path) -> None:
    import gradio as gr

    from pixelcontrast.explore.handlers import Handlers, Session

    desk = Desk([explored])
    handlers = Handlers(desk, Panels(desk.space), tmp_path)
    names = desk.splits.images("val")
    first = handlers.open_named(Session(), "prediction", "features", "val", names[0])[0]
    second = handlers.open_named(first, "prediction", "features", "val", names[1])[0]
    middle = gr.EventData(None, {"x": 0.5, "y": 0.5})

    def answers(session: Session) -> list[list[Any]]:
        return [
            handlers.pick(session, "features", middle),
            handlers.show(session, "entropy", "features"),
            handlers.look_elsewhere(session, "features"),
        ]

    assert all(shown == gr.skip() for answer in answers(first) for shown in answer)
    assert not any(shown == gr.skip() for answer in answers(second) for shown in answer)
    assert handlers.open_named(Session(), "prediction", "features", "val", names[0])[0].latest is not second.latest
