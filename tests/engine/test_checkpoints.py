from pathlib import Path

import pytest
import torch

from pixelcontrast.engine.checkpoints import WholeCheckpointIO, checkpoints_in, newest_whole_checkpoint, step_of
from pixelcontrast.engine.run_folder import RunFolder, next_run_folder
from pixelcontrast.errors import RunError


def save(folder: Path, step: int) -> Path:
    path = folder / f"step_{step:08d}.ckpt"
    WholeCheckpointIO().save_checkpoint({"step": step, "weights": torch.arange(1000)}, path)
    return path


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    loaded = WholeCheckpointIO().load_checkpoint(save(tmp_path, 3))
    assert loaded["step"] == 3
    assert torch.equal(loaded["weights"], torch.arange(1000))


def test_the_newest_whole_one_is_found_and_torn_ones_are_passed_over(tmp_path: Path) -> None:
    assert newest_whole_checkpoint(tmp_path) is None
    old, new = save(tmp_path, 90), save(tmp_path, 100)
    assert newest_whole_checkpoint(tmp_path) == new
    assert (step_of(old), step_of(new)) == (90, 100)
    content = new.read_bytes()
    new.write_bytes(content[: len(content) // 2])
    assert newest_whole_checkpoint(tmp_path) == old
    new.write_bytes(bytes([content[0], content[1] ^ 1]) + content[2:])
    assert newest_whole_checkpoint(tmp_path) == old


def test_a_failed_write_leaves_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, 1)
    assert checkpoints_in(tmp_path) == []


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "exploded",)  # type: ignore[return-value]

    torch.save({"x": Bomb()}, tmp_path / "step_00000001.ckpt")
    with pytest.raises(Exception, match="[Ww]eights"):
        WholeCheckpointIO().load_checkpoint(tmp_path / "step_00000001.ckpt")
    assert not (tmp_path / "exploded").exists()


def test_a_used_folder_needs_resume(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert folder.begin("seed: 0\n", resume=False) is None
    with pytest.raises(RunError, match="--resume"):
        folder.begin("seed: 1\n", resume=False)
    assert folder.begin("seed: 1\n", resume=True) is None
    assert folder.recipe.read_text() == "seed: 0\n"


def test_a_folder_of_other_things_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"no recipe\.yaml"):
        RunFolder(tmp_path).begin("", resume=True)
    with pytest.raises(RunError, match="no run folder"):
        RunFolder(tmp_path / "absent").require_weights()


def test_run_folders_are_numbered(tmp_path: Path) -> None:
    assert next_run_folder(tmp_path) == tmp_path / "1"
    (tmp_path / "1").mkdir()
    assert next_run_folder(tmp_path) == tmp_path / "2"
