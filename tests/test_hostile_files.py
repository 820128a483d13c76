"""Files that someone made to do harm do nothing but give an error; names that lead elsewhere lead nowhere."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pixelcontrast.cli.running import recipe_title
from pixelcontrast.compare.arms import choose_arms
from pixelcontrast.data import Folder
from pixelcontrast.engine.inputs import find_inputs
from pixelcontrast.engine.protocol import EvaluationOptions
from pixelcontrast.engine.run_folder import EvaluationFolder
from pixelcontrast.engine.scoring import score_split
from pixelcontrast.errors import DataError, RecipeError, RunError
from pixelcontrast.nn.heads import FCN, OCR
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.nn.weights import load_plain, read_checkpoint, read_weights
from pixelcontrast.recipe.root import load, parse

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


class TestYaml:
    def test_a_billion_laughs_are_refused_in_a_recipe(self) -> None:
        with pytest.raises(RecipeError, match="more than 100000 values, aliases written out"):
            parse(LAUGHS)

    def test_an_alias_that_is_used_a_few_times_is_fine(self) -> None:
        text = "data: synthetic\ncontrast: &c {temperature: 0.2}\n"
        assert parse(text).contrast is not None

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (LAUGHS, "an alias"),
            ("[" * 5000, "nested too deeply"),
            ("!!python/object/apply:os.system ['touch exploded']", "could not determine a constructor"),
            ("x: " + "a" * (1 << 20), "at most 1048576 bytes"),
            ("road: {id: 0, color: [1, 2, 300]}", "colours are three numbers from 0 to 255"),
            ("road: {id: 0, color: []}", "expected a list of names"),
            ("road: {id: 0, color: [.inf, 0, 0]}", "expected a list of names"),
        ],
    )
    def test_classes_that_do_harm_are_refused(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "classes.yaml").write_text(text)
        with pytest.raises(DataError, match=said):
            _ = Folder(root=str(tmp_path)).label_space

    @pytest.mark.parametrize(
        "override",
        [
            "seed=" + "9" * 5000, "." * 50, "a." * 40 + "b=1", "data.size." + "9" * 5000 + "=1", "optimizer.lr=.nan",
            "trainer.gradient_clip=.inf", "seed=[" * 3000, "seed=!!python/name:os.system", "data.root=~no_such_user/x",
        ],
    )  # fmt: skip
    def test_overrides_that_do_harm_are_refused(self, override: str) -> None:
        try:
            recipe = load("camvid/hrnet_w18_small", [override])
        except RecipeError:
            return
        with pytest.raises(DataError, match="does not exist"):
            recipe.data.open("train")


class TestWeights:
    @pytest.fixture
    def saved(self, tmp_path: Path) -> Path:
        torch.save({"w": torch.arange(6.0)}, tmp_path / "good.pth")
        return tmp_path / "good.pth"

    def test_plain_tensors_are_read(self, saved: Path) -> None:
        assert torch.equal(read_checkpoint(saved)["w"], torch.arange(6.0))

    def test_an_archive_that_inflates_is_refused(self, saved: Path, tmp_path: Path) -> None:
        bomb = tmp_path / "bomb.pth"
        with zipfile.ZipFile(saved) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
            for entry in old.namelist():
                new.writestr(entry, old.read(entry) + bytes(50 << 20))
        assert bomb.stat().st_size < 1 << 20
        with pytest.raises(RunError, match="its entries are compressed"):
            load_plain(bomb)

    def test_an_archive_whose_entries_overlap_is_refused(
        self, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        entries = zipfile.ZipFile(saved).infolist()
        monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda _: entries * 100)
        with pytest.raises(RunError, match="its entries overlap"):
            load_plain(saved)

    def test_code_is_told_from_damage_and_not_advertised(self, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[object, tuple[Path]]:
                return Path.touch, (tmp_path / "exploded",)

        torch.save({"w": Bomb()}, tmp_path / "bomb.pth")
        with pytest.raises(RunError, match="what might be code") as refused:
            read_checkpoint(tmp_path / "bomb.pth")
        assert "weights_only" not in str(refused.value)
        assert not (tmp_path / "exploded").exists()

    def test_a_header_that_lies_is_refused(self, tmp_path: Path) -> None:
        save_file({"w": torch.arange(6.0)}, tmp_path / "w.safetensors")
        content = (tmp_path / "w.safetensors").read_bytes()
        for lie in (b"\xff" * 8 + content[8:], content.replace(b"[6]", b"[9]"), content.replace(b"F32", b"F99")):
            (tmp_path / "w.safetensors").write_bytes(lie)
            with pytest.raises(RunError, match="damaged"):
                read_weights(tmp_path / "w.safetensors")


class TestConfiguration:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        Segmentor(ModelOptions(backbone="test_resnet", head=FCN()), 2).save_pretrained(tmp_path)
        return tmp_path

    def change(self, folder: Path, **values: object) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    @pytest.mark.parametrize(
        "values",
        [
            {"num_classes": 10**9},
            {"num_classes": 0},
            {"num_classes": "2"},
            {"palette": [[0, 0, 999], [0, 0, 0]]},
            {"class_names": ["one"]},
            {"std": [0.0, 1.0, 1.0]},
            {"mean": [float("nan"), 0.0, 0.0]},
            {"odd": 1},
            {"model": {"backbone": "hf-hub:someone/something", "head": {"name": "fcn"}}},
            {"model": {"backbone": "local-dir:/etc", "head": {"name": "fcn"}}},
            {"model": {"backbone": "test_resnet", "head": {"name": "ocr", "channels": 10**9}}},
            {"model": ["test_resnet"]},
        ],
        ids=str,
    )
    def test_what_a_stranger_wrote_is_checked(self, folder: Path, values: dict[str, object]) -> None:
        self.change(folder, **values)
        with pytest.raises(RunError, match="is not a configuration that this version"):
            Segmentor.from_pretrained(folder)

    @pytest.mark.parametrize("text", ["[" * 10**5, "3", "", "{", "\x00", '{"model": ' + "9" * 5000 + "}"])
    def test_what_is_no_configuration_is_one_message(self, folder: Path, text: str) -> None:
        (folder / "config.json").write_text(text)
        with pytest.raises(RunError, match="is not a configuration that this version"):
            Segmentor.from_pretrained(folder)

    def test_first_weights_are_never_fetched_for_it(self, folder: Path) -> None:
        model = {"backbone": "test_resnet", "head": {"name": "fcn"}, "pretrained": "/etc/passwd"}
        self.change(folder, model=model)
        assert Segmentor.from_pretrained(folder).options.pretrained is False

    def test_every_head_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        written = Segmentor(ModelOptions(backbone="test_resnet", head=OCR(channels=16, key_channels=8)), 2)
        written.save_pretrained(tmp_path)
        assert Segmentor.from_pretrained(tmp_path).options == replace(written.options, pretrained=False)


class TestNames:
    def dataset(self, root: Path, *names: str) -> Folder:
        """Images listed under these names; all of them are of one class."""
        root.mkdir()
        (root / "classes.yaml").write_text("[road, sky]")
        Image.fromarray(np.zeros((40, 40), dtype=np.uint8)).save(root / "labels.png")
        rows = [{"image": name, "labels": "labels.png", "split": "val"} for name in names]
        (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((40, 40, 3), dtype=np.uint8)).save(root / name)
        return Folder(root=str(root), pairs="pairs.jsonl", workers=0)

    def test_nothing_is_written_outside_of_the_evaluation(self, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        names = ("../outside/a.png", str(elsewhere / "b.png"), "in/c.png")
        data = self.dataset(tmp_path / "data", *names)
        before = {path for path in tmp_path.rglob("*") if path.is_file()}
        segmentor = Segmentor(ModelOptions(backbone="test_resnet", head=FCN()), 2)
        place = EvaluationFolder(tmp_path / "run" / "evaluations" / "val")
        options = EvaluationOptions()
        score_split(segmentor, data, "val", device=torch.device("cpu"), step=0, protocol=options, folder=place)
        written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
        assert all(path.is_relative_to(place.path) for path in written)
        assert sum(path.name.endswith(".prediction.png") for path in written) == 3

    def test_two_files_of_one_name_are_refused(self, tmp_path: Path) -> None:
        data = self.dataset(tmp_path / "data", "a.png", "b/a.jpg", "b/a.png")
        with pytest.raises(DataError, match="would both be called b/a"):
            data.open("val")

    def test_predictions_stay_below_their_folder(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / "in" / "x.png")
        (tmp_path / "link.png").symlink_to(tmp_path / "in" / "x.png")
        for given in (tmp_path / "in" / ".." / "in", tmp_path / "in" / ".." / "link.png"):
            names = [each.name for each in find_inputs([given])]
            assert all(".." not in name.parts and not name.is_absolute() for name in names)

    @pytest.mark.parametrize("arm", ["..: seed=1", ".: seed=1", "a/b: seed=1", "x: 'seed=1"])
    def test_an_arm_cannot_be_called_what_leads_elsewhere(self, arm: str) -> None:
        with pytest.raises(RecipeError, match="expected 'NAME: KEY=VALUE"):
            choose_arms(["cross_entropy"], [arm], load("synthetic/hrnet_w18_small"))

    def test_a_recipe_file_of_dots_has_a_folder_all_the_same(self) -> None:
        assert recipe_title("...yaml") == "recipe"
        assert recipe_title("../../mine.yaml") == "mine"
