"""Run folders as training, evaluation and `embed` leave them, filled with made-up figures: what a report is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from pixelcontrast.engine.crops import COLUMNS, SIDE, as_sheet
from pixelcontrast.engine.embedding_files import PixelEmbeddings
from pixelcontrast.engine.examples import Choice
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.scoring import save_counts
from pixelcontrast.engine.tally import Prediction, Tally

CLASSES = ("sky", "road", "car", "pole")
PALETTE = ((90, 160, 230), (128, 64, 128), (0, 0, 142), (200, 200, 120))
SIZE = (24, 40)


@dataclass
class MadeRun:
    """A run folder to be written; `skill` from 0 to 1 is the share of pixels it gets right."""

    contrast: bool = True
    seed: int = 0
    skill: float = 0.7
    images: int = 12
    classes: tuple[str, ...] = CLASSES
    names: tuple[str, ...] = ()
    embedded: bool = False
    data: dict[str, object] = field(default_factory=lambda: {"name": "camvid", "root": "/home/someone/secret/camvid"})

    def write(self, folder: Path) -> Path:
        """Write every file a report reads."""
        folder.mkdir(parents=True)
        run = RunFolder(folder)
        run.recipe.write_text(yaml.safe_dump(self._recipe(), sort_keys=False))
        (folder / "config.json").write_text(json.dumps({"palette": self._palette()}))
        self._write_logs(run)
        self._write_evaluation(run)
        if self.embedded:
            self._embeddings().save(run.embeddings)
        return folder

    @property
    def _image_names(self) -> tuple[str, ...]:
        return self.names or tuple(f"{i:04d}" for i in range(self.images))

    def _palette(self) -> list[tuple[int, int, int]]:
        return [PALETTE[i % len(PALETTE)] for i in range(len(self.classes))]

    def _recipe(self) -> dict[str, object]:
        model = {"backbone": "resnet10t", "head": {"name": "fcn"}}
        contrast = {"weight": 1.0, "temperature": 0.1} if self.contrast else None
        return {"seed": self.seed, "model": model, "data": self.data, "contrast": contrast}

    def _write_logs(self, run: RunFolder) -> None:
        generator = np.random.default_rng(self.seed)
        lines, speed = [], []
        for step in range(0, 400, 10):
            noise = generator.normal(scale=0.05)
            values = {"loss/cross_entropy": 2 * np.exp(-step / 200) + noise + 0.3, "lr": 0.01 * (1 - step / 400)}
            if self.contrast:
                values |= {
                    "loss/contrast": 8 - step / 400,
                    "contrast/chance_level": 8.5,
                    "contrast/floor": 0.1,
                    "contrast/positive_similarity": 0.8,
                    "contrast/negative_similarity": 0.7 - step / 1000,
                    "contrast/effective_rank": 3 + step / 100,
                    "contrast/memory_fill": min(1, step / 100),
                    "contrast/anchors_without_positives": 0.0,
                }
            lines.append({"step": step, **values})
            speed.append({"step": step, "images_per_second": 20 + noise, "peak_bytes": 10**9})
        lines.append({"step": 200, "val/mIoU": 100 * self.skill - 20})
        for path, held in ((run.metrics, lines), (run.speed, speed)):
            path.write_text("".join(json.dumps(line) + "\n" for line in held))
        start = {"commit": "c0ffee", "hardware": "a computer", "threads": 2, "libraries": {"torch": "2.11"}}
        run.provenance.write_text(json.dumps({**start, "started": "2030-01-01T00:00:00+00:00"}) + "\n")

    def _write_evaluation(self, run: RunFolder) -> None:
        names, num_classes = self._image_names, len(self.classes)
        tally = Tally.zeros(len(names), num_classes, torch.device("cpu"))
        generator = np.random.default_rng(7)  # the images are the same in every run
        luck = np.random.default_rng(self.seed + 100 * self.contrast)
        for number, name in enumerate(names):
            labels = np.kron(generator.integers(0, num_classes, (3, 5)), np.ones((8, 8), dtype=int))
            right = luck.random(SIZE) < self.skill + 0.2 * np.sin(number)
            predicted = np.where(right, labels, (labels + luck.integers(1, num_classes, SIZE)) % num_classes)
            labels[:1] = 255
            confidence = torch.from_numpy(np.clip(luck.normal(self.skill, 0.1, SIZE), 0.3, 1).astype(np.float32))
            prediction = Prediction(torch.from_numpy(predicted), confidence)
            tally.add(number, torch.from_numpy(labels), prediction)
            self._write_example(run, name, labels, predicted, generator)
        scores = [(name, 0.1 + 0.05 * i) for i, name in enumerate(names)]
        choice = Choice(tuple(scores[:3]), tuple(scores[::-1][:3]), tuple(names[::4]))
        save_counts(run, names, tally.images)
        protocol = f"camvid val, {num_classes} classes"
        scored = Scores.from_tally(tally, self.classes, choice, protocol=protocol, images=len(names), step=400)
        scored.save(run.scores)

    def _write_example(
        self, run: RunFolder, name: str, labels: np.ndarray, predicted: np.ndarray, generator: np.random.Generator
    ) -> None:
        place = run.examples / name.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(f"{place}.image.jpg")
        for kind, ids in (("label", labels), ("prediction", predicted)):
            Image.fromarray(ids.astype(np.uint8)).save(f"{place}.{kind}.png")

    def _embeddings(self) -> PixelEmbeddings:
        generator = np.random.default_rng(5)
        per_class, num_classes = 15, len(self.classes)
        label = np.repeat(np.arange(num_classes, dtype=np.int32), per_class)
        names = self._image_names
        image = generator.integers(0, len(names), len(label)).astype(np.int32)
        spread = generator.normal(size=(len(label), 8)) * (0.3 if self.contrast else 0.6)
        rows = np.eye(8)[label % 8] + spread
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        crops = [Image.new("RGB", (SIDE, SIDE), PALETTE[i % len(PALETTE)]) for i in label.tolist()]
        return PixelEmbeddings(
            classes=np.asarray(self.classes),
            palette=np.asarray(self._palette(), dtype=np.uint8),
            names=np.asarray(names),
            sizes=np.asarray([SIZE] * len(names)),
            split=np.asarray("val"),
            seed=np.asarray(0),
            step=np.asarray(400),
            features=rows.astype(np.float16),
            norms=np.ones(len(label), dtype=np.float32),
            projected=rows[:, ::-1].astype(np.float16) if self.contrast else None,
            image=image,
            row=generator.integers(0, SIZE[0], len(label)).astype(np.int32),
            column=generator.integers(0, SIZE[1], len(label)).astype(np.int32),
            label=label,
            prediction=np.where(generator.random(len(label)) < 0.2, (label + 1) % num_classes, label).astype(np.int32),
            probability=generator.random(len(label)).astype(np.float32),
            crops=as_sheet(crops),
            crop_side=np.asarray(SIDE),
            crop_columns=np.asarray(COLUMNS),
        )


def write_study(folder: Path, *, seeds: int = 3) -> Path:
    """A comparison's folder: two arms, some seeds, contrast a little better."""
    for seed in range(seeds):
        MadeRun(contrast=False, seed=seed, skill=0.62 + 0.01 * seed, embedded=seed == 0).write(
            folder / "cross_entropy" / f"seed_{seed}"
        )
        MadeRun(contrast=True, seed=seed, skill=0.7 + 0.015 * seed, embedded=seed == 0).write(
            folder / "contrast" / f"seed_{seed}"
        )
    return folder
