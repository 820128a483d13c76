import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pixelcontrast.engine.checkpoints import (
    WholeCheckpointIO,
    checkpoints_in,
    checksum_file,
    newest_whole_checkpoint,
    step_of,
)
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


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "torn, truncated or changed"),
        (lambda path: path.write_bytes(b""), "torn, truncated or changed"),
        (lambda path: flip(path, 900), "torn, truncated or changed"),
        (lambda path: flip(checksum_file(path), 5), "torn, truncated or changed"),
        (lambda path: checksum_file(path).write_bytes(b"\xff\xfe"), "torn, truncated or changed"),
        (lambda path: checksum_file(path).unlink(), "checksum is missing"),
        (lambda path: checksum_file(path).write_text(""), "checksum is missing"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    ],
)
def test_what_is_amiss_is_said_and_the_one_before_is_taken(
    tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    old, new = save(tmp_path, 90), save(tmp_path, 100)
    damage(new)
    told: list[tuple[Path, str]] = []
    assert newest_whole_checkpoint(tmp_path, passed_over=lambda path, why: told.append((path, why))) == old
    assert [path for path, _ in told] == [new]
    assert reason in told[0][1]


def test_a_run_goes_on_from_the_newest_whole_one_and_the_torn_one_is_out_of_the_way(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    old, new = save(folder.checkpoints, 90), save(folder.checkpoints, 100)
    new.write_bytes(new.read_bytes()[:-1])
    told: list[str] = []
    assert folder.resume_point(told.append) == old
    assert told[0].startswith(f"passed over {new}: ")
    assert told[0].endswith("kept as step_00000100.ckpt.torn")
    assert told[1] == "resuming at step 90"
    assert checkpoints_in(folder.checkpoints) == [old]
    old.unlink()
    told.clear()
    assert folder.resume_point(told.append) is None
    assert told == ["no checkpoint: starting at step 0"]


def test_a_kill_between_checksum_and_rename_keeps_the_older_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path, 7)
    before = path.read_bytes()
    replace = Path.replace

    def killed(partial: Path, target: Path) -> Path:
        if target == path:
            raise SystemExit("killed")
        return replace(partial, target)

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            with pytest.raises(SystemExit):
                WholeCheckpointIO().save_checkpoint({"step": 8}, path)
        assert path.read_bytes() == before
        assert newest_whole_checkpoint(tmp_path) == path
    WholeCheckpointIO().save_checkpoint({"step": 9}, path)
    assert newest_whole_checkpoint(tmp_path) == path
    assert WholeCheckpointIO().load_checkpoint(path) == {"step": 9}


def test_a_full_disk_leaves_the_last_good_checkpoint_and_no_part_of_the_new(small_disk: Path) -> None:
    good = save(small_disk, 1)
    with pytest.raises(RunError, match="no room on the disk"):
        WholeCheckpointIO().save_checkpoint({"weights": torch.zeros(1_000_000)}, small_disk / "step_00000002.ckpt")
    assert newest_whole_checkpoint(small_disk) == good
    assert {path.name for path in small_disk.iterdir()} == {good.name, checksum_file(good).name}


def test_checkpoints_are_in_order_of_their_steps_however_many(tmp_path: Path) -> None:
    paths = [save(tmp_path, step) for step in (99_999_999, 100_000_000)]
    assert checkpoints_in(tmp_path) == paths


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "exploded",)  # type: ignore[return-value]

    path = tmp_path / "step_00000001.ckpt"
    torch.save({"x": Bomb()}, path)
    checksum_file(path).write_text(hashlib.sha256(path.read_bytes()).hexdigest() + "\n")
    assert newest_whole_checkpoint(tmp_path) == path, "its checksum holds, but who wrote it?"
    with pytest.raises(RunError, match=r"cannot be read as a checkpoint: .*what might be code"):
        WholeCheckpointIO().load_checkpoint(path)
    assert not (tmp_path / "exploded").exists()


def test_what_is_no_checkpoint_says_so(tmp_path: Path) -> None:
    torch.save([torch.ones(2)], tmp_path / "step_00000001.ckpt")
    with pytest.raises(RunError, match="cannot be read as a checkpoint: expected a dictionary, got a list"):
        WholeCheckpointIO().load_checkpoint(tmp_path / "step_00000001.ckpt")


def begin(folder: Path, recipe_text: str, *, resume: bool) -> list[str]:
    said: list[str] = []
    with RunFolder(folder).begun(recipe_text, said.append, resume=resume):
        return said


def test_a_used_folder_needs_resume(tmp_path: Path) -> None:
    begin(tmp_path / "run", "seed: 0\n", resume=False)
    with pytest.raises(RunError, match="--resume"):
        begin(tmp_path / "run", "seed: 1\n", resume=False)
    begin(tmp_path / "run", "seed: 1\n", resume=True)
    assert (tmp_path / "run" / "recipe.yaml").read_text() == "seed: 0\n"


def test_one_training_at_a_time_is_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelcontrast.files._PATIENCE", 0)
    said: list[str] = []
    with RunFolder(tmp_path).begun("seed: 0\n", said.append, resume=False):
        half = tmp_path / "weights.safetensors.partial"
        half.write_text("half")
        with (
            pytest.raises(RunError, match="another process trains in .*; wait for its end, stop it, or choose"),
            RunFolder(tmp_path).begun("", said.append, resume=True),
        ):
            pass
        assert half.exists()
    assert said == [f"another process trains in {tmp_path}; waiting two minutes for its end"]
    assert begin(tmp_path, "", resume=True) == []
    assert not half.exists()


def test_what_a_kill_left_half_written_does_not_make_a_folder_used(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml.partial").write_text("se")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step_00000001.ckpt.partial").write_text("half")
    (tmp_path / "recipe.yaml").write_text("seed: 0\n")
    begin(tmp_path, "seed: 1\n", resume=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["checkpoints", "recipe.yaml"]
    (tmp_path / "recipe.yaml").rename(tmp_path / "recipe.yaml.partial")
    (tmp_path / "checkpoints").rmdir()
    begin(tmp_path, "seed: 2\n", resume=False)
    assert (tmp_path / "recipe.yaml").read_text() == "seed: 2\n"


def test_a_folder_of_other_things_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"no recipe\.yaml"):
        begin(tmp_path, "", resume=True)
    with pytest.raises(RunError, match="no run folder"):
        RunFolder(tmp_path / "absent").require_weights()


def test_run_folders_are_numbered(tmp_path: Path) -> None:
    assert next_run_folder(tmp_path) == tmp_path / "1"
    (tmp_path / "1").mkdir()
    assert next_run_folder(tmp_path) == tmp_path / "2"
