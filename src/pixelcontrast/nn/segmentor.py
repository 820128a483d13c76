"""The deployed network: a backbone and a head, and nothing of the contrast that trained it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from pixelcontrast.errors import RunError
from pixelcontrast.nn.backbone import Backbone
from pixelcontrast.nn.heads import MapShapes
from pixelcontrast.nn.heads.fcn import FCNDecoder
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.saving import SavedModel, read_model, write_model
from pixelcontrast.nn.weights import CONFIG_FILE, load_weights
from pixelcontrast.ops.resize import crop, num_cells, pad_to_multiple
from pixelcontrast.types import BandStatistics, SegmentationOutput

AUXILIARY_DROPOUT = 0.1


class Segmentor(nn.Module):
    """From normalised images to logits, with the map that pixel contrast attaches to on the side.

    Images of any size are taken: they are padded right and bottom with zeros (the mean colour) to the multiple the
    backbone needs, and its maps are cropped back. Its weights have the same names and shapes whether it was
    trained with contrast or not: the projection and the memory belong to the criterion.

    Args:
        model: Backbone and head: `ModelOptions(backbone=..., head=...)` of `pixelcontrast.nn.options`.
        num_classes: Channels of the logits; at least 1.
        bands: Statistics of images that are not RGB of 8 bits, one number a band: `BandStatistics(mean, std)` of
            `pixelcontrast.types`; None for RGB.
        class_names: One a class, or none.
        palette: A colour (red, green, blue; 0 to 255) a class, or none.

    Attributes:
        options: The `model` it was built from.
        bands: As given.
        mean: Per channel, that images are normalised with, on a scale of 0 to 1; those of `bands` in their units.
        std: The same for the standard deviation.
        feature_channels: Of the map that contrast attaches to.

    Raises:
        ValueError: If the backbone, head and options do not fit each other, or names and colours not the classes.
        RunError: If pretrained weights are asked for and cannot be had.
    """

    def __init__(
        self,
        model: ModelOptions,
        num_classes: int,
        *,
        bands: BandStatistics | None = None,
        class_names: Sequence[str] = (),
        palette: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        super().__init__()
        _check_classes(num_classes, class_names, palette)
        self.options, self.num_classes = model, num_classes
        self.class_names, self.palette = tuple(class_names), tuple(palette)
        self.bands, self.in_channels = bands, 3 if bands is None else len(bands.mean)
        self.backbone = Backbone(
            model.backbone,
            pretrained=model.pretrained,
            output_stride=model.output_stride,
            in_channels=self.in_channels,
        )
        if model.hrnet_fuse == "bilinear":
            self.backbone.fuse_bilinearly()
        if model.gradient_checkpointing:
            self.backbone.checkpoint_gradients()
        shapes = self.backbone.shapes
        self.head = model.head.build(shapes, num_classes)
        auxiliary = model.auxiliary and not self.head.supervises_itself
        self.auxiliary_head = _auxiliary_head(shapes, num_classes) if auxiliary else None
        chosen = model.contrast_map
        self.feature_channels = self.head.feature_channels if chosen is None else _map_channels(shapes, chosen)
        self.mean, self.std = (self.backbone.mean, self.backbone.std) if bands is None else (bands.mean, bands.std)

    def forward(self, image: Float[Tensor, "b bands H W"]) -> SegmentationOutput:
        """Return logits at the head's stride; auxiliary logits in training only.

        Args:
            image: Normalised by `mean` and `std`; any height and width.
        """
        maps = self.backbone(pad_to_multiple(image, self.backbone.pad_multiple))
        maps = tuple(map(partial(_crop, image), maps, self.backbone.shapes.strides))
        output = self.head(maps)
        auxiliary = output.auxiliary_logits
        if self.auxiliary_head is not None and self.training:
            auxiliary = self.auxiliary_head(maps[:-1]).logits
        chosen = self.options.contrast_map
        features = output.features if chosen is None else maps[chosen]
        return SegmentationOutput(logits=output.logits, auxiliary_logits=auxiliary, features=features, maps=maps)

    def map_channels(self, index: int) -> int:
        """Channels of one of the backbone's maps, from 0 for the highest resolution; negative counts from the end.

        Raises:
            ValueError: If there is no such map.
        """
        return _map_channels(self.backbone.shapes, index)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write `weights.safetensors`, `config.json` and a model card, ready to be moved or uploaded to a hub."""
        saved = SavedModel(
            model=self.options,
            num_classes=self.num_classes,
            class_names=self.class_names,
            palette=self.palette,
            mean=self.mean,
            std=self.std,
            rgb=self.bands is None,
        )
        write_model(saved, self.state_dict(), Path(folder))

    @classmethod
    def from_pretrained(cls, source: Path | str, *, revision: str | None = None) -> Segmentor:
        """Load a network from a folder that `save_pretrained` wrote, or from a hub repository of the same files.

        Only safetensors and JSON are read. The network comes in eval mode.

        Args:
            source: A folder, or a hub id such as `owner/name`.
            revision: Branch, tag or commit of a hub repository.

        Raises:
            RunError: If there is no such folder or repository, or its files do not belong together.
        """
        saved, state = read_model(source, revision=revision)
        bands = None if saved.rgb else BandStatistics(saved.mean, saved.std)
        try:
            segmentor = cls(
                saved.model, saved.num_classes, bands=bands, class_names=saved.class_names, palette=saved.palette
            )
        except ValueError as error:
            raise RunError(f"the {CONFIG_FILE} of {source} describes no network that can be built: {error}") from error
        load_weights(segmentor, state, source=str(source))
        segmentor.mean, segmentor.std = saved.mean, saved.std
        return segmentor.eval()


def _crop(image: Float[Tensor, "b _ H W"], whole: Float[Tensor, "b c _ _"], stride: int) -> Float[Tensor, "b c h w"]:
    """Cut off the part of a map that covers nothing but padding, before the head, whose statistics it would enter."""
    return crop(whole, tuple(num_cells(side, stride) for side in image.shape[-2:]))


def _auxiliary_head(shapes: MapShapes, num_classes: int) -> FCNDecoder:
    if len(shapes.channels) < 2:
        raise ValueError("auxiliary needs a backbone of at least two maps, got one; set model.auxiliary to false")
    before_last = MapShapes(shapes.channels[:-1], shapes.strides[:-1])
    return FCNDecoder(before_last, num_classes, dropout=AUXILIARY_DROPOUT)


def _map_channels(shapes: MapShapes, index: int) -> int:
    count = len(shapes.channels)
    if not -count <= index < count:
        raise ValueError(f"the backbone has {count} maps, so a map must be from {-count} to {count - 1}, got {index}")
    return shapes.channels[index]


def _check_classes(num_classes: int, class_names: Sequence[str], palette: Sequence[tuple[int, int, int]]) -> None:
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    for what, given in (("class_names", class_names), ("palette", palette)):
        if len(given) not in (0, num_classes):
            raise ValueError(f"{what} must have one entry for each of the {num_classes} classes, got {len(given)}")
    for color in palette:
        if len(color) != 3 or not all(0 <= value <= 255 for value in color):
            raise ValueError(f"a colour of the palette must be three numbers from 0 to 255, got {tuple(color)}")
