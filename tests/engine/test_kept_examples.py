"""Which images are kept for people to look at, in one process; test_evaluation_ranks has two."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pixelcontrast.data.labels import LabelSpace
from pixelcontrast.engine.examples import COUNT, ExampleGallery, encode_example, even_indices, place_below

SPACE = LabelSpace(("a", "b"), ((10, 20, 30), (200, 100, 0)))
scores = st.lists(st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1), max_size=40)


def filled(scores: Sequence[float | None]) -> tuple[ExampleGallery, list[int]]:
    """A gallery that was offered images with these scores, and the indices that were encoded."""
    gallery, encoded = ExampleGallery(len(scores)), []

    def encode(index: int) -> dict[str, bytes]:
        encoded.append(index)
        return {".txt": str(index).encode()}

    for index, score in enumerate(scores):
        gallery.offer(index, f"city/{index}", score, lambda index=index: encode(index))
    return gallery, encoded


@given(scores)
def test_the_worst_and_best_are_those_of_a_full_sort(drawn: list[float | None]) -> None:
    choice = filled(drawn)[0].choose(None)
    ranked = [(score, index) for index, score in enumerate(drawn) if score is not None]
    worst = sorted(ranked)[:COUNT]
    best = sorted(ranked, key=lambda entry: (-entry[0], entry[1]))[:COUNT]
    assert choice.worst == tuple((f"city/{i}", score) for score, i in worst)
    assert choice.best == tuple((f"city/{i}", score) for score, i in best)
    assert choice.even == tuple(f"city/{i}" for i in sorted(even_indices(len(drawn))))


def test_what_is_chosen_is_written_and_nothing_else(tmp_path: Path) -> None:
    gallery, _ = filled([i / 100 for i in range(100)])
    choice = gallery.choose(tmp_path)
    names = {name for name, _ in (*choice.worst, *choice.best)} | {*choice.even}
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt")} == {f"{n}.txt" for n in names}
    assert (tmp_path / "city/99.txt").read_text() == "99"


def test_images_that_cannot_be_chosen_are_not_encoded() -> None:
    _, encoded = filled([0.5] * 1000)
    assert len(encoded) <= 3 * COUNT


def test_even_images_are_spread_and_few() -> None:
    assert sorted(even_indices(3)) == [0, 1, 2]
    assert sorted(even_indices(15)) == [0, 1, 3, 5, 7, 9, 11, 13]
    assert even_indices(0) == frozenset()


def test_labels_and_predictions_are_kept_as_ids_in_the_palette() -> None:
    labels, predictions = torch.tensor([[0, 1, 255]]), torch.tensor([[1, 1, 0]])
    files = encode_example(torch.full((3, 1, 3), 77, dtype=torch.uint8), labels, predictions, SPACE)
    for ending, ids in ((".label.png", [[0, 1, 255]]), (".prediction.png", [[1, 1, 0]])):
        picture = Image.open(io.BytesIO(files[ending]))
        assert np.asarray(picture).tolist() == ids
        colours = np.asarray(picture.convert("RGB")).tolist()
        assert colours == [[[0, 0, 0] if i == 255 else list(SPACE.palette[i]) for i in ids[0]]]
    assert np.asarray(Image.open(io.BytesIO(files[".image.jpg"]))).tolist() == [[[77] * 3] * 3]


def test_no_name_leads_out_of_the_folder() -> None:
    assert place_below("frankfurt/0001") == Path("frankfurt/0001")
    assert place_below("../../etc/x") == Path("etc/x")
    assert place_below("/etc/x") == Path("etc/x")
