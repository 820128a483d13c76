"""From a data set to batches: the k-th training sample of a run is a pure function of (seed, k).

One endless stream: permutations of the data set, one an epoch, each a function of (seed, epoch); sample k is image
k mod N of permutation k div N (or what another order says), transformed under a generator seeded by (seed, k). Step s
of a run consists of the samples from s * batch_size on, of which each rank takes its contiguous share. So neither the
number of workers, nor the number of ranks, nor the step at which a run was resumed changes what is trained on. Where
unreadable images are skipped, the image that stands in for one is a function of (seed, k) too, as long as the files
stay as they are.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pixelcontrast.data.drawing import drawing
from pixelcontrast.data.options import DataOptions
from pixelcontrast.data.rare_classes import Drawn
from pixelcontrast.data.sources import SegmentationDataset
from pixelcontrast.data.transforms import PerBand, TrainingTransform, normalize
from pixelcontrast.errors import DataError, RecipeError, UnreadableFileError, UserError
from pixelcontrast.ops.hashing import mix
from pixelcontrast.types import Batch, Sample

T = TypeVar("T")


@dataclass(frozen=True)
class EvaluationSample:
    """One image to be scored.

    Attributes:
        image: Whole, normalised, at its own size.
        labels: At their original size, 255 where a pixel has none.
        name: As in the data set.
    """

    image: Float[Tensor, "1 c H W"]
    labels: Int[Tensor, "H0 W0"]
    name: str


class StreamSample(NamedTuple):
    """A transformed sample.

    Attributes:
        image: Normalised.
        labels: Class ids, 255 where a pixel has none.
        name: Of the image.
        unreadable: What was amiss with the images that it stands in for.
    """

    image: Float[Tensor, "c h w"]
    labels: Int[Tensor, "h w"]
    name: str
    unreadable: tuple[str, ...]


class TrainingStream(Dataset[Any]):
    """The endless stream of transformed samples; `stream[k]` is the k-th of a run."""

    def __init__(
        self,
        dataset: SegmentationDataset,
        transform: TrainingTransform,
        draw: Callable[[int], Drawn],
        *,
        seed: int,
        skip_unreadable: bool = False,
    ) -> None:
        self.dataset = dataset
        self.transform = transform
        self.draw = draw
        self.seed = seed
        self.tries = _TRIES if skip_unreadable else 1

    def drawn(self, k: int, *, attempt: int = 0) -> Drawn:
        """Which image of the data set the k-th sample is; which one stands in for it, if `attempt` is not 0."""
        if attempt:
            return Drawn(mix(self.seed, k, attempt, _STAND_IN) % len(self.dataset), None)
        return self.draw(k)

    def __getitem__(self, k: int) -> StreamSample | UserError:
        """Return a sample; or, as a value, the error of a file: a worker's exception loses its form."""
        try:
            sample, shown, unreadable = self._read(k)
            generator = Generator().manual_seed(mix(self.seed, k))
            image, labels = self.transform(sample.image, _labels_of(sample), generator, shown=shown)
        except UserError as error:
            return error
        return StreamSample(image, labels, sample.name, unreadable)

    def _read(self, k: int) -> tuple[Sample, int | None, tuple[str, ...]]:
        """The first image that can be read, the class its crop shows, and what was amiss with those before it."""
        unreadable: list[str] = []
        for attempt in range(self.tries):
            drawn = self.drawn(k, attempt=attempt)
            try:
                return self.dataset[drawn.index], drawn.shown, tuple(unreadable)
            except UnreadableFileError as error:
                unreadable.append(str(error))
                last = error
        raise last


_STAND_IN = 0x7374616E64  # "stand"
_TRIES = 10


def require_shares(batch_size: int, world_size: int) -> None:
    """Refuse a batch that does not divide among the ranks.

    Raises:
        RecipeError: With the nearest size that does.
    """
    if batch_size % world_size:
        fit = max(1, batch_size // world_size) * world_size
        raise RecipeError(
            f"data.batch_size is the total over all ranks: expected a multiple of the {world_size} ranks, "
            f"got {batch_size}; set data.batch_size={fit} or change the number of devices"
        )


class StepSampler(Sampler[list[int]]):
    """The numbers k of one rank's samples, a list for each step from `start_step` to `num_steps` - 1."""

    def __init__(self, *, start_step: int, num_steps: int, batch_size: int, rank: int, world_size: int) -> None:
        require_shares(batch_size, world_size)
        self.steps = range(start_step, num_steps)
        self.batch_size = batch_size
        self.share = batch_size // world_size
        self.rank = rank

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            first = step * self.batch_size + self.rank * self.share
            yield list(range(first, first + self.share))


class EvaluationImages(Dataset[Any]):
    """Whole images, normalised, with their labels untouched."""

    def __init__(self, dataset: SegmentationDataset, *, mean: PerBand, std: PerBand) -> None:
        self.dataset = dataset
        self.mean = mean
        self.std = std

    def __getitem__(self, index: int) -> EvaluationSample | UserError:
        """Return one image to be scored, or the error of a file as a value."""
        try:
            sample = self.dataset[index]
            labels = _labels_of(sample).long()
        except UserError as error:
            return error
        return EvaluationSample(normalize(sample.image, mean=self.mean, std=self.std)[None], labels, sample.name)


class CarefulLoader(DataLoader[T]):
    """A loader that raises errors of files as they are; a worker's would arrive wrapped in a traceback's text."""

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]  # torch names its own iterator class
        for item in super().__iter__():
            if isinstance(item, UserError):
                raise item
            yield item


def training_loader(
    dataset: SegmentationDataset,
    options: DataOptions,
    *,
    seed: int,
    start_step: int,
    num_steps: int,
    mean: PerBand,
    std: PerBand,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[Batch]:
    """Load the batches of steps `start_step` to `num_steps` - 1.

    Args:
        dataset: The images to train on.
        options: Batch size (over all ranks), workers and transforms.
        seed: Of the run.
        start_step: The first step to load, such as the one a checkpoint was written after.
        num_steps: Of the whole run.
        mean: Of each band, as `normalize` takes it.
        std: The same.
        rank: Of this process.
        world_size: How many processes share each batch.

    Raises:
        RecipeError: If the batch does not divide among the ranks.
        DataError: If the data set is empty; while iterating, if a file cannot be used.
    """
    transform = TrainingTransform(
        crop_size=options.crop_size,
        scale=options.scale,
        flip=options.flip,
        photometric=options.photometric,
        max_class_share=options.max_class_share,
        mean=mean,
        std=std,
    )
    sampler = StepSampler(
        start_step=start_step,
        num_steps=num_steps,
        batch_size=options.batch_size,
        rank=rank,
        world_size=world_size,
    )
    return CarefulLoader(
        TrainingStream(
            dataset,
            transform,
            drawing(dataset, options, seed=seed),
            seed=seed,
            skip_unreadable=options.on_error == "skip",
        ),
        batch_sampler=sampler,
        num_workers=options.workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        generator=Generator(),  # else making workers draws from the global one, which dropout lives on
        worker_init_fn=outlive_signals,
    )


def evaluation_loader(
    dataset: SegmentationDataset,
    options: DataOptions,
    *,
    mean: PerBand,
    std: PerBand,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[EvaluationSample]:
    """Load whole images one at a time, each exactly once over all ranks: rank r takes r, r + world_size, ...

    Raises:
        DataError: While iterating, if a file cannot be used or an image has no labels.
    """
    return CarefulLoader(
        EvaluationImages(dataset, mean=mean, std=std),
        sampler=range(rank, len(dataset), world_size),
        batch_size=None,
        num_workers=options.workers,
        collate_fn=_as_it_is,
        generator=Generator(),
        worker_init_fn=outlive_signals,
    )


def outlive_signals(worker: int) -> None:
    """Let a worker live on where a signal goes to all processes of a run, as a terminal, SLURM and torchrun send it.

    The training process decides what a signal means, and needs its workers until the step has ended; they end with it.
    It ends them by SIGTERM only where they do not answer; so of SIGTERMs one is let pass.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    if hasattr(signal, "SIGUSR1"):  # SLURM's, before it ends a job
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def collate(samples: Sequence[StreamSample | UserError]) -> Batch | UserError:
    """Stack samples to a batch; the first error among them takes its place."""
    good = []
    for sample in samples:
        if isinstance(sample, UserError):
            return sample
        good.append(sample)
    images, labels, names, unreadable = zip(*good, strict=True)
    return Batch(torch.stack(images), torch.stack(labels), names, tuple(itertools.chain.from_iterable(unreadable)))


def _as_it_is(item: T) -> T:
    return item


def _labels_of(sample: Sample) -> Tensor:
    if sample.labels is None:
        raise DataError(f"{sample.name}: expected an image with labels, but its split has none; choose another split")
    return sample.labels
