"""Predictions of files: names, sizes, kinds of output, and what cannot be read."""

import errno
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixelcontrast.data.label_tables import CITYSCAPES
from pixelcontrast.data.transforms import normalize
from pixelcontrast.engine import prediction
from pixelcontrast.engine.inputs import Input, count_frames, find_inputs, frames_of
from pixelcontrast.engine.outputs import DEFAULT_OUTPUTS, Output, OutputWriter, choose_outputs
from pixelcontrast.engine.prediction import Predicted, predict_inputs
from pixelcontrast.engine.predictor import evaluating, predict, strips_of
from pixelcontrast.engine.protocol import EvaluationOptions
from pixelcontrast.errors import DataError, RecipeError, RunError
from pixelcontrast.nn.heads import FCN
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def segmentor() -> Segmentor:
    torch.manual_seed(0)
    palette = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    return Segmentor(
        ModelOptions(backbone="test_resnet", head=FCN()), 3, class_names=tuple("abc"), palette=palette
    ).eval()


def draw(path: Path, height: int, width: int, *, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def run(
    segmentor: Segmentor,
    given: list[Path],
    output: Path,
    outputs: tuple[Output, ...] = DEFAULT_OUTPUTS,
    **options: object,
) -> Predicted:
    with OutputWriter(output, outputs, segmentor) as writer:
        return predict_inputs(segmentor, find_inputs(given), writer, device=CPU, **options)  # type: ignore[arg-type]


def pixels(file: Path | str) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture)


def files_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_names_and_sizes_are_kept_and_what_cannot_be_read_is_listed(segmentor: Segmentor, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    draw(photos / "a.jpg", 50, 70)
    Image.fromarray(np.zeros((33, 47), dtype=np.uint8)).save(draw(photos / "deep" / "b.c.png", 1, 1))
    (photos / "torn.jpg").write_bytes((photos / "a.jpg").read_bytes()[:200])
    (photos / "empty.png").touch()
    predicted = run(segmentor, [photos], tmp_path / "out")
    assert predicted.written == 2
    assert {*files_below(tmp_path / "out")} == {
        f"{kind}/{name}.png" for kind in ("labels", "colour", "overlay") for name in ("a", "deep/b.c")
    }
    assert [message.split(":")[0].rsplit("/")[-1] for message in predicted.skipped] == ["empty.png", "torn.jpg"]
    for kind, mode in (("labels", "L"), ("colour", "RGB"), ("overlay", "RGB")):
        with Image.open(tmp_path / "out" / kind / "deep" / "b.c.png") as picture:
            assert (picture.size, picture.mode) == ((47, 33), mode)


def test_a_picture_that_could_not_be_finished_is_not_there(
    segmentor: Segmentor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_: Image.Image, file: Path, *_form: str) -> None:
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    image = draw(tmp_path / "in" / "a.png", 20, 30)
    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(RunError, match="no room"):
        run(segmentor, [image], tmp_path / "out")
    assert files_below(tmp_path / "out") == {}


def test_every_kind_says_the_same(segmentor: Segmentor, tmp_path: Path) -> None:
    file = draw(tmp_path / "a.png", 40, 60)
    run(segmentor, [file], tmp_path / "out", ("labels", "colour", "overlay", "probabilities"))
    labels = pixels(tmp_path / "out/labels/a.png")
    colours = pixels(tmp_path / "out/colour/a.png")
    assert np.array_equal(colours, np.asarray(segmentor.palette, dtype=np.uint8)[labels])
    overlay = pixels(tmp_path / "out/overlay/a.png")
    assert np.abs(overlay - (pixels(file) / 2.0 + colours / 2.0)).max() <= 1
    stored = np.load(tmp_path / "out/probabilities/a.npz")
    assert stored["classes"].tolist() == ["a", "b", "c"]
    assert stored["probabilities"].dtype == np.float16
    assert stored["probabilities"].shape == (40, 60, 3)
    assert np.allclose(stored["probabilities"].sum(-1, dtype=np.float32), 1, atol=2e-3)
    with evaluating(segmentor):
        image = normalize(next(frames_of(Input(Path("a"), file))).image, mean=segmentor.mean, std=segmentor.std)
        (strip,) = strips_of(segmentor, image[None], EvaluationOptions())
    assert np.array_equal(labels, strip.prediction.labels[0].numpy())
    assert np.array_equal(stored["probabilities"], strip.probabilities[0].permute(1, 2, 0).half().numpy())


def test_batches_and_order_change_nothing(segmentor: Segmentor, tmp_path: Path) -> None:
    for number, (height, width) in enumerate([(32, 48), (32, 48), (48, 32), (32, 48), (32, 48), (32, 48)]):
        draw(tmp_path / "in" / f"{number}.png", height, width, seed=number)
    for batch_size in (1, 4):
        run(segmentor, [tmp_path / "in"], tmp_path / str(batch_size), ("labels",), batch_size=batch_size)
    one, four = (files_below(tmp_path / folder) for folder in ("1", "4"))
    assert {*one} == {*four}
    for name in one:
        # A sum in another order may decide a pixel that is undecided.
        assert (pixels(tmp_path / "1" / name) == pixels(tmp_path / "4" / name)).mean() > 0.999


def test_a_large_image_is_cut_into_windows(
    segmentor: Segmentor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = draw(tmp_path / "a.png", 70, 90)
    small = draw(tmp_path / "small.png", 20, 30)
    monkeypatch.setattr(prediction, "LARGEST_WHOLE", 1000)
    monkeypatch.setattr(prediction, "WINDOW_OF_LARGE", (32, 48))
    assert run(segmentor, [file, small], tmp_path / "out", ("labels", "probabilities")) == Predicted(2, 1, ())
    with evaluating(segmentor):
        image = normalize(next(frames_of(Input(Path("a"), file))).image, mean=segmentor.mean, std=segmentor.std)
        expected = predict(segmentor, image[None], EvaluationOptions(window=(32, 48)))
    assert np.array_equal(pixels(tmp_path / "out/labels/a.png"), expected.labels[0].numpy())
    stored = np.load(tmp_path / "out/probabilities/a.npz")["probabilities"]
    assert np.array_equal(stored.max(-1), expected.confidence[0].half().numpy())


def test_label_ids_for_the_server_of_cityscapes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ModelOptions(backbone="test_resnet", head=FCN())
    network = Segmentor(model, 19, class_names=CITYSCAPES.names, palette=CITYSCAPES.palette).eval()
    draw(tmp_path / "test" / "berlin" / "berlin_000000_000019_leftImg8bit.png", 32, 64)
    run(network, [tmp_path / "test"], tmp_path / "out", ("labels", "cityscapes"))
    labels = pixels(tmp_path / "out/labels/berlin/berlin_000000_000019_leftImg8bit.png")
    ids = pixels(tmp_path / "out/cityscapes/berlin/berlin_000000_000019_pred_labelIds.png")
    # As cityscapesScripts' helpers/labels.py pairs trainId and id.
    of_train_id = {0: 7, 1: 8, 2: 11, 3: 12, 4: 13, 5: 17, 6: 19, 7: 20, 8: 21, 9: 22, 10: 23, 11: 24, 12: 25, 13: 26}
    of_train_id |= {14: 27, 15: 28, 16: 31, 17: 32, 18: 33}
    assert np.array_equal(ids, np.vectorize(of_train_id.get)(labels))


def test_the_server_of_cityscapes_takes_its_own_classes_and_names(segmentor: Segmentor, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="19 classes; this one has 3: a, b, c"):
        OutputWriter(tmp_path, ("cityscapes",), segmentor)
    network = Segmentor(ModelOptions(backbone="test_resnet", head=FCN()), 19, class_names=CITYSCAPES.names)
    with pytest.raises(DataError, match="got holiday"):
        OutputWriter(tmp_path, ("cityscapes",), network).check_names([Input(Path("holiday"), Path("holiday.jpg"))])


class TestWhatIsFound:
    def test_folders_and_patterns_keep_the_folders_below_them(self, tmp_path: Path) -> None:
        for name in ("a/1.jpg", "a/2.png", "b/c/1.jpg", "b/.hidden.jpg", "b/notes.txt"):
            draw(tmp_path / name, 2, 2) if not name.endswith("txt") else (tmp_path / name).touch()
        names = {str(each.name) for each in find_inputs([tmp_path])}
        assert names == {"a/1", "a/2", "b/c/1"}
        assert [str(each.name) for each in find_inputs([tmp_path / "*" / "*.jpg"])] == ["a/1"]
        assert [str(each.name) for each in find_inputs([f"{tmp_path}/**/1.jpg"])] == ["a/1", "b/c/1"]
        assert [str(each.name) for each in find_inputs([tmp_path / "a" / "2.png"])] == ["2"]

    def test_a_file_with_signs_of_a_pattern_in_its_name_is_a_file(self, tmp_path: Path) -> None:
        file = draw(tmp_path / "photo [1].jpg", 2, 2)
        assert find_inputs([str(file)]) == [Input(Path("photo [1]"), file)]

    def test_what_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no file or folder at .*absent"):
            find_inputs([tmp_path / "absent"])
        with pytest.raises(DataError, match="no image or video in"):
            find_inputs([tmp_path])
        with pytest.raises(DataError, match="no image or video in"):
            find_inputs([tmp_path / "*.jpg"])
        with pytest.raises(DataError, match="no pattern that can be looked for|no image or video"):  # in 3.13 it is one
            find_inputs([tmp_path / "**.jpg"])

    def test_two_files_of_one_name_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="would both be written as a"):
            find_inputs([draw(tmp_path / "a.jpg", 2, 2), draw(tmp_path / "a.png", 2, 2)])

    def test_a_file_named_twice_is_one(self, tmp_path: Path) -> None:
        file = draw(tmp_path / "a.jpg", 2, 2)
        assert len(find_inputs([file, tmp_path / "." / ".." / tmp_path.name / "a.jpg"])) == 1

    def test_a_folder_called_as_a_video_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "clip.mp4").touch()
        draw(tmp_path / "clip" / "000000.png", 2, 2)
        with pytest.raises(DataError, match=r"000000.png and the frames of .*clip.mp4 would be written"):
            find_inputs([tmp_path])

    def test_inputs_where_outputs_go_are_told(self, tmp_path: Path) -> None:
        draw(tmp_path / "a.jpg", 2, 2)
        with pytest.raises(DataError, match="where outputs go, which are no inputs; name another folder"):
            find_inputs([tmp_path], leave_out=tmp_path)

    def test_outputs_are_known_words(self) -> None:
        assert choose_outputs(["overlay", "labels", "labels"]) == ("labels", "overlay")
        with pytest.raises(RecipeError, match="Did you mean 'overlay'"):
            choose_outputs(["overlays"])
        with pytest.raises(RecipeError, match="expected some of"):
            choose_outputs([])


class TestVideo:
    @pytest.fixture
    def video(self, tmp_path: Path) -> Path:
        """Five frames of 30x50 pixels at 10 a second, each of one grey."""
        av = pytest.importorskip("av")
        path = tmp_path / "clips" / "drive.mp4"
        path.parent.mkdir()
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 50, 30, "yuv420p"
            for grey in range(5):
                plain = np.full((30, 50, 3), 40 * grey + 20, dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(plain, format="rgb24")))
            container.mux(stream.encode(None))
        return path

    def test_every_frame_is_predicted_and_the_overlay_is_a_video(
        self, segmentor: Segmentor, video: Path, tmp_path: Path
    ) -> None:
        draw(video.parent / "photo.png", 30, 50)
        assert run(segmentor, [video.parent], tmp_path / "out", batch_size=3) == Predicted(6, 0, ())
        names = {*files_below(tmp_path / "out" / "labels")}
        assert names == {"photo.png", *(f"drive/{i:06d}.png" for i in range(5))}
        (overlay,) = find_inputs([tmp_path / "out" / "overlay" / "drive.mp4"])
        frames = list(frames_of(overlay))
        assert [frame.image.shape for frame in frames] == [(3, 30, 50)] * 5
        assert frames[0].rate == 10
        for number, frame in enumerate(frames):
            still = pixels(tmp_path / f"out/overlay/drive/{number:06d}.png")
            assert abs(still.mean() - frame.image.float().mean().item()) < 10  # as far as a lossy format keeps it

    def test_frames_are_counted_before_they_are_read(self, video: Path, tmp_path: Path) -> None:
        assert [count_frames(each) for each in find_inputs([video, draw(tmp_path / "a.png", 2, 2)])] == [5, 1]
        (tmp_path / "none.mp4").write_bytes(b"no video")
        assert count_frames(Input(Path("none"), tmp_path / "none.mp4")) == 1

    def test_a_broken_video_is_listed_and_the_rest_goes_on(
        self, segmentor: Segmentor, video: Path, tmp_path: Path
    ) -> None:
        broken = video.with_name("broken.mp4")
        broken.write_bytes(video.read_bytes()[:300])
        predicted = run(segmentor, [broken, video], tmp_path / "out", ("labels",))
        assert predicted.written == 5
        assert "broken.mp4" in predicted.skipped[0]

    @pytest.mark.parametrize("suffix", ["mp4", "mkv"])
    def test_a_video_that_was_cut_off_is_listed_and_its_frames_are_kept(
        self, segmentor: Segmentor, tmp_path: Path, suffix: str
    ) -> None:
        av = pytest.importorskip("av")
        whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
        noise = np.random.default_rng(0)
        with av.open(str(whole), "w", options={"movflags": "faststart"} if suffix == "mp4" else {}) as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 50, 30, "yuv420p"
            for _ in range(40):
                picture = noise.integers(0, 256, (30, 50, 3), dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        assert run(segmentor, [whole], tmp_path / "whole", ("labels",)) == Predicted(40, 0, ())
        predicted = run(segmentor, [cut], tmp_path / "cut", ("labels",))
        assert 10 < predicted.written < 30
        (message,) = predicted.skipped
        assert re.search("does not decode|expected a video of 4.0 s, as it says, got one that ends after [12]", message)

    def test_a_video_of_one_pixel_is_listed(self, segmentor: Segmentor, tmp_path: Path) -> None:
        av = pytest.importorskip("av")
        with av.open(str(tmp_path / "one.avi"), "w") as container:
            stream = container.add_stream("rawvideo", rate=10)
            stream.width, stream.height, stream.pix_fmt = 1, 1, "bgr24"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((1, 1, 3), np.uint8), format="bgr24")))
            container.mux(stream.encode(None))
        predicted = run(segmentor, [tmp_path / "one.avi"], tmp_path / "out")
        assert predicted.written == 0
        assert "expected a video of at least 2x2 pixels, got 1x1" in predicted.skipped[0]

    def test_without_the_library_it_is_said_what_to_install(self, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(RunError, match=r"pip install 'pixelcontrast\[video\]'"):
            next(frames_of(Input(Path("drive"), video)))
