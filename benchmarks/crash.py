"""Kill a training at random, again and again, and damage its checkpoints: what is lost?

    python benchmarks/crash.py

A small network trains on small generated images. Each `kill -9` is aimed at a phase by watching the run folder, with a
random delay, and what it hit is read off the folder afterwards. Each is followed by `--resume`. In the end weights,
checkpoint, metrics and scores must be those of a run that was left alone, byte for byte. Then the newest checkpoint is
damaged in 200 ways; resuming must use the one before.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import write
from PIL import Image

from pixelcontrast.engine.checkpoints import WholeCheckpointIO, checkpoints_in, checksum_file, newest_whole_checkpoint
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.errors import RunError

STEPS, CHECKPOINT_EVERY, EVALUATE_EVERY = 60, 2, 3
RECIPE = f"""
data: {{name: camvid, root: ROOT, batch_size: 2, crop_size: [64, 64], workers: 1}}
model: {{backbone: resnet10t, head: fcn}}
contrast:
  embedding_dim: 256
  anchors_per_class: 8
  mining: all
  memory: {{pixels_per_class: 1000, regions_per_class: 100}}
optimizer: {{name: sgd, lr: 0.02}}
trainer:
  max_steps: {STEPS}
  checkpoint_every: {CHECKPOINT_EVERY}
  evaluate_every: {EVALUATE_EVERY}
  accumulate: 2
  ema_decay: 0.9
  log_every: 1
  logger: none
  accelerator: cpu
"""
# Longest wait after a phase has begun, in seconds: about as long as it takes on a machine with other work.
LONGEST = {"training": 1.5, "checkpoint": 0.4, "evaluation": 0.6, "final evaluation": 2.0}
RESULT = Path(__file__).parent / "results" / "crash_cpu.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, nargs=4, default=[6, 6, 8, 2], help=f"aimed at {', '.join(LONGEST)}")
    parser.add_argument("--least", type=int, default=5, help="hits of each phase; what falls short is aimed at again")
    parser.add_argument("--damages", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="crash_") as place:
        recipe = prepare(Path(place))
        whole, parts = (RunFolder(Path(place) / name) for name in ("whole", "parts"))
        print("left alone: exit code", run_to_end(recipe, whole))
        aims = [aim for aim, count in list(zip(LONGEST, options.kills, strict=True))[:3] for _ in range(count)]
        draw.shuffle(aims)
        kills = [report(kill(recipe, parts, aim, draw)) for aim in aims]
        for aim in list(LONGEST)[:3]:
            while sum(each["hit"] == aim for each in kills) < options.least:
                kills.append(report(kill(recipe, parts, aim, draw)))
        kills += [report(kill(recipe, parts, "final evaluation", draw)) for _ in range(options.kills[3])]
        print("the last session: exit code", run_to_end(recipe, parts))
        equal = comparison(whole, parts)
        print(json.dumps(equal, indent=1))
        damages = damage_and_look(parts, draw, times=options.damages)
        commands = [resume_damaged(recipe, parts, draw) for _ in range(3)]
    results = {
        "command": shlex.join(["python", "benchmarks/crash.py", *sys.argv[1:]]),
        "kills": kills,
        "hits_by_phase": dict(Counter(each["hit"] for each in kills)),
        "equal_to_the_run_left_alone": equal,
        "damages": summary(damages),
        "commands_on_damaged_checkpoints": commands,
    }
    write(options.output, results)
    print(json.dumps({name: value for name, value in results.items() if name != "kills"}, indent=1))
    good = all(equal.values()) and all(each["right"] for each in damages) and all(each["right"] for each in commands)
    sys.exit(0 if good else 1)


def prepare(place: Path) -> Path:
    """Write images in CamVid's layout, and the recipe."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 24)):
        for i in range(count):
            labels = np.kron(generator.integers(0, 11, (6, 8)), np.ones((16, 16), dtype=np.int64)).astype(np.uint8)
            image = (labels[..., None] * 20 + generator.integers(0, 30, (*labels.shape, 3))).astype(np.uint8)
            for folder, pixels in ((split, image), (f"{split}annot", labels)):
                path = place / "data" / folder / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    recipe = place / "recipe.yaml"
    recipe.write_text(RECIPE.replace("ROOT", str(place / "data")))
    return recipe


def start(recipe: Path, folder: RunFolder) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pixelcontrast", "train", str(recipe), "--run-dir", str(folder.path), "--resume"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with said(folder).open("w") as log:  # a pipe that nobody reads would halt the run when it is full
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)


def said(folder: RunFolder) -> Path:
    """Takes what the newest session of a run says."""
    return folder.path.with_suffix(".log")


def run_to_end(recipe: Path, folder: RunFolder) -> int:
    code = start(recipe, folder).wait()
    if code:
        print(said(folder).read_text())
    return code


def kill(recipe: Path, folder: RunFolder, aim: str, draw: random.Random) -> dict[str, Any]:
    """Go on with the run, kill it in the phase that is aimed at, and say what was hit."""
    begun, since = beginning(folder, aim), time.monotonic()
    process = start(recipe, folder)
    wait(process, folder, begun)
    for _ in range(draw.choice([1, 1, 2]) if aim != "final evaluation" else 1):
        wait(process, folder, lambda: phase(folder) == aim)
        time.sleep(draw.uniform(0, LONGEST[aim]))
    process.kill()
    process.wait()
    return {
        "aim": aim,
        "hit": phase(folder),
        "after_s": round(time.monotonic() - since, 2),
        "step": last_step(folder),
        "checkpoint": newest_saved(folder),
        "traceback": "Traceback" in said(folder).read_text(),
    }


def beginning(folder: RunFolder, aim: str) -> Callable[[], bool]:
    """Asks whether a session that starts now has come to work: has done a step, or has written the weights."""
    from_step, started = newest_saved(folder), time.time_ns()
    sessions = len(folder.provenance.read_text().splitlines()) if folder.provenance.exists() else 0

    def trains() -> bool:
        if not folder.provenance.exists() or len(folder.provenance.read_text().splitlines()) == sessions:
            return False
        return last_step(folder) > from_step

    def deploys() -> bool:
        return folder.weights.exists() and folder.weights.stat().st_mtime_ns > started

    return deploys if aim == "final evaluation" else trains


def last_step(folder: RunFolder) -> int:
    return max((int(line["step"]) + 1 for line in lines_of(folder) if "loss" in line), default=0)


def newest_saved(folder: RunFolder) -> int:
    return max((step for step, _ in saved(folder)), default=0)


def report(hit: dict[str, Any]) -> dict[str, Any]:
    print(f"aimed at {hit['aim']}, hit {hit['hit']} at step {hit['step']}, {hit['after_s']} s", flush=True)
    return hit


def wait(process: subprocess.Popen[bytes], folder: RunFolder, happened: Callable[[], bool]) -> None:
    while not happened():
        if process.poll() is not None:
            sys.exit(f"the run ended by itself, exit code {process.returncode}:\n{said(folder).read_text()}")
        time.sleep(0.005)


def phase(folder: RunFolder) -> str:
    """What a run is doing, or was doing when it was killed, as its folder tells it."""
    if list(folder.checkpoints.glob("*.partial")):
        return "checkpoint"
    if folder.weights.exists() and not folder.scores.exists():
        return "final evaluation"
    lines = lines_of(folder)
    if not lines:
        return "setting up"
    step = lines[-1]["step"] + 1
    due = "loss" in lines[-1] and step % EVALUATE_EVERY == 0 and step < STEPS
    if due and (step % CHECKPOINT_EVERY or any(saved_step == step for saved_step, _ in saved(folder))):
        return "evaluation"
    return "training"


def lines_of(folder: RunFolder) -> list[dict[str, float]]:
    text = folder.metrics.read_text() if folder.metrics.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def saved(folder: RunFolder) -> list[tuple[int, Path]]:
    return [(int(path.stem.removeprefix("step_")), path) for path in checkpoints_in(folder.checkpoints)]


def comparison(whole: RunFolder, parts: RunFolder) -> dict[str, bool]:
    """What of two runs is equal to the last bit."""
    states = [WholeCheckpointIO().load_checkpoint(saved(folder)[-1][1]) for folder in (whole, parts)]
    for state in states:
        state.pop("provenance")  # holds the time
    return {
        "weights": whole.weights.read_bytes() == parts.weights.read_bytes(),
        "checkpoint": same(*states),
        "metrics": whole.metrics.read_text() == parts.metrics.read_text(),
        "scores": whole.scores.read_text() == parts.scores.read_text(),
        "nothing_half_written": not list(parts.path.rglob("*.partial")),
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)


@contextmanager
def damaged(checkpoint: Path, draw: random.Random) -> Iterator[str]:
    """Damage a checkpoint in a random way and place, and mend it again."""
    size, sidecar = checkpoint.stat().st_size, checksum_file(checkpoint)
    kinds = ["bit", "bit", "bit", "byte", "truncated", "truncated", "zeros", "zeros to the end", "longer", "checksum"]
    kind = draw.choice(kinds)
    target = sidecar if kind == "checksum" else checkpoint
    place = draw.randrange(target.stat().st_size - 1)
    copy = target.with_suffix(".copy")
    shutil.copyfile(target, copy)
    with target.open("r+b") as file:
        file.seek(place)
        old = file.read(1)
        file.seek(place)
        match kind:
            case "bit" | "checksum":
                file.write(bytes([old[0] ^ 1 << draw.randrange(8)]))
            case "byte":
                file.write(bytes([(old[0] + draw.randrange(1, 256)) % 256]))
            case "truncated":
                file.truncate(place)
            case "zeros":  # a page that did not reach the disk
                file.write(b"\0" * min(4096, size - place))
            case "zeros to the end":
                file.write(b"\0" * (size - place))
            case "longer":
                file.seek(size)
                file.write(draw.randbytes(100))
    try:
        yield kind
    finally:
        copy.replace(target)


def damage_and_look(folder: RunFolder, draw: random.Random, *, times: int) -> list[dict[str, Any]]:
    """Which checkpoint resuming would take beside a damaged one, and what reading the damaged one itself gives."""
    older, newest = (path for _, path in saved(folder)[-2:])
    whole = WholeCheckpointIO().load_checkpoint(newest)
    return [damage_once(older, newest, whole, draw) for _ in range(times)]


def damage_once(older: Path, newest: Path, whole: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    told: list[str] = []
    with damaged(newest, draw) as kind:
        taken = newest_whole_checkpoint(newest.parent, passed_over=lambda path, reason: told.append(reason))
        try:
            read = "the same" if same(whole, WholeCheckpointIO().load_checkpoint(newest)) else "something else"
        except RunError:
            read = "a message"
    unharmed = kind.startswith("zeros") and taken == newest and read == "the same"  # there were zeros before
    return {"kind": kind, "right": unharmed or (taken == older and len(told) == 1), "read": read, "unharmed": unharmed}


def summary(damages: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "tried": len(damages),
        "kinds": dict(Counter(each["kind"] for each in damages)),
        "used_the_one_before_with_a_message": sum(each["right"] and not each["unharmed"] for each in damages),
        "changed_no_byte": sum(each["unharmed"] for each in damages),
        "wrong": sum(not each["right"] for each in damages),
        "read_without_looking_at_the_checksum": dict(Counter(each["read"] for each in damages)),
    }


def resume_damaged(recipe: Path, folder: RunFolder, draw: random.Random) -> dict[str, Any]:
    """The command itself, on a finished run whose scores are gone and whose newest checkpoint is damaged."""
    expected = folder.scores.read_text(), folder.weights.read_bytes()
    older, newest = (path for _, path in saved(folder)[-2:])
    folder.scores.unlink()
    with newest.open("r+b") as file:
        file.truncate(draw.randrange(newest.stat().st_size))
    code = start(recipe, folder).wait()
    out = said(folder).read_text()
    right = code == 0 and f"passed over {newest}" in "".join(out.splitlines())
    right &= "Traceback" not in out and (folder.scores.read_text(), folder.weights.read_bytes()) == expected
    return {"exit_code": code, "right": right}


if __name__ == "__main__":
    main()
