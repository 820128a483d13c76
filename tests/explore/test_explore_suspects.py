"""Lists of suspects and panels: what is exported reads back, and names are never markup."""

import csv
import io
import json
from html.parser import HTMLParser

import torch

from pixelcontrast.data.labels import LabelSpace
from pixelcontrast.explore.answers import Elsewhere, Kin, Layer, Reading
from pixelcontrast.explore.choices import Choice
from pixelcontrast.explore.layers import Range
from pixelcontrast.explore.panels import Panels, asset
from pixelcontrast.explore.suspects import Suspect, as_csv, as_json

CLASSES = ("sky", 'a, "quoted" class')
SUSPECT = Suspect(
    row=3,
    image="city/a,b",
    label=0,
    suggested=1,
    against=4,
    asked=5,
    support=3,
    similarity=0.912345,
    agreement=0.25,
    size=1234,
    box=(1, 2, 30, 40),
)
HOSTILE = ("</p><script>alert(1)</script>", '"><img src=x onerror=alert(2)>')


def test_a_csv_reads_back() -> None:
    (line,) = csv.DictReader(io.StringIO(as_csv([SUSPECT], CLASSES)))
    assert line["image"] == "city/a,b"
    assert (line["label"], line["suggested"]) == CLASSES
    assert [int(line[side]) for side in ("top", "left", "bottom", "right")] == [1, 2, 30, 40]
    assert (line["neighbours_against"], line["neighbours_asked"], line["neighbours_for_suggested"]) == ("4", "5", "3")
    assert float(line["similarity"]) == 0.9123
    assert as_csv([], CLASSES).count("\n") == 1


def test_a_json_reads_back() -> None:
    found = json.loads(as_json([SUSPECT], CLASSES, split="train"))
    assert found["split"] == "train"
    (entry,) = found["suspects"]
    assert entry["box"] == [1, 2, 30, 40]
    assert entry["label"] == "sky"
    assert entry["pixels"] == 1234


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_are_never_markup() -> None:
    panels = Panels(LabelSpace(HOSTILE, ((1, 2, 3), (4, 5, 6))))
    bad = HOSTILE[1]
    kin = [Kin("data:,", bad, 0, 1, None, 0.5)]
    written = [
        panels.head(runs=[bad], data=bad),
        panels.scale(Layer("data:,"), "prediction", [(0, 0.5), (1, 0.5)]),
        panels.reading(Reading((1, 2), torch.tensor([0.25, 0.75]), 0.4, 1)),
        panels.kin(kin, bad),
        panels.elsewhere([Elsewhere(Choice("val", bad), "data:,", "data:,", 0.5)]),
        panels.suspects([(SUSPECT, "data:,")], total=1, unfiltered=1, regions=2, kind="features", split=bad),
        panels.suspects(bad, total=0, unfiltered=0, regions=0, kind="features", split=""),
    ]
    for text in written:
        page = Tags(text)
        assert "script" not in page.tags
        assert "onerror" not in page.attributes
        assert any(name in page.text for name in HOSTILE) or bad not in text


def test_a_scale_tells_its_ends_and_a_reading_its_shares() -> None:
    panels = Panels(LabelSpace(("sky", "road"), ((1, 2, 3), (4, 5, 6))))
    heat = panels.scale(Layer("data:,", scale=Range(0.25, 0.75)), "similarity", [])
    assert "0.25" in heat
    assert "0.75" in heat
    assert "sky" in panels.scale(Layer("data:,"), "prediction", [(0, 1.0)])
    reading = panels.reading(Reading((1, 2), torch.tensor([0.25, 0.75]), 0.4, 0))
    assert reading.index("75.0 %") < reading.index("25.0 %")
    assert "labelled" in reading
    assert "right" in panels.scale(Layer("data:,"), "errors", [(0, 1.0)])


def test_the_style_names_the_colours_of_the_heat() -> None:
    assert "#440154" in asset("explore.css")
    assert "RAMP_" not in asset("explore.css")
