"""What an event may ask for, whoever sends it."""

from pathlib import Path

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
