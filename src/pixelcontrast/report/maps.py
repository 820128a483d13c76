"""Maps of embeddings: the same pixels under each network, by PCA and by t-SNE, and what holds before any projection."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from markupsafe import Markup
from PIL import Image

from pixelcontrast.contrast.statistics import effective_rank, mean_similarities
from pixelcontrast.engine.crops import COLUMNS, as_sheet, read_sheet
from pixelcontrast.engine.embedding_files import PixelEmbeddings
from pixelcontrast.engine.pictures import data_uri
from pixelcontrast.report.arms import Arm

PIXELS = 1500  # of all classes together: t-SNE of more takes long, and shows no more
_SEED = 0
_PERPLEXITY = 30
_COMPONENTS = 50
_NEIGHBOURS = 10
_SIDE = 1000  # of the square that a map is drawn in


@dataclass(frozen=True)
class Measures:
    """How well the classes are apart in the whole space, of which a map is but a shadow.

    Attributes:
        neighbours: Share of a pixel's 10 nearest others that are of its class, mean in percent.
        silhouette: Mean silhouette by cosine distance, -1 to 1.
        within: Mean cosine of two pixels of one class.
        between: Mean cosine of two pixels of two classes.
        rank: Effective rank.
        dimension: Of the space.
    """

    neighbours: float
    silhouette: float
    within: float
    between: float
    rank: float
    dimension: int


@dataclass(frozen=True)
class PixelMap:
    """One space of one arm.

    Attributes:
        arm: Name of the arm.
        space: Which embeddings these are.
        explained: Shares of the variance along the two axes of the PCA, in percent.
        measures: In the whole space.
        svg: The t-SNE map, coloured by label.
    """

    arm: str
    space: str
    explained: tuple[float, float]
    measures: Measures
    svg: Markup


@dataclass(frozen=True)
class Maps:
    """All maps of a page.

    Attributes:
        maps: In the order they are shown.
        about: Which pixels, how many, by which seeds and settings.
        notes: What is left out, and why.
        crops: The pixels' surroundings, one picture.
        data: What hovering and switching need.
        present: Ids of the classes that have pixels.
    """

    maps: tuple[PixelMap, ...]
    about: str
    notes: tuple[str, ...]
    crops: str
    data: dict[str, Any]
    present: tuple[int, ...]


def draw_maps(arms: Sequence[Arm]) -> Maps | None:
    """Map the pixels that all arms embedded; None if none has."""
    embedded = [(arm, arm.embeddings) for arm in arms if arm.embeddings is not None]
    if not embedded:
        return None
    reference = embedded[-1][1]
    same = [(arm, found) for arm, found in embedded if found.same_pixels(reference)]
    notes = tuple(
        f"{arm.name} has embeddings of other pixels and is left out; embed it with the same split, seed and --pixels."
        for arm, found in embedded
        if not found.same_pixels(reference)
    )
    chosen = reference.prefix(-(-PIXELS // len(reference.classes)))
    spaces = [
        (arm, found, name, np.asarray(rows[chosen], dtype=np.float64))
        for arm, found in same
        for name, rows in (("tapped features", found.features), ("projected", found.projected))
        if rows is not None
    ]
    labels = reference.label[chosen]
    flat = flatten_all([rows for *_, rows in spaces])
    return Maps(
        maps=tuple(
            PixelMap(
                arm.name, name, shape.explained, measure(rows, labels), _svg(shape.tsne, labels, f"{arm.name}, {name}")
            )
            for (arm, _, name, rows), shape in zip(spaces, flat, strict=True)
        ),
        about=_about(reference, len(labels)),
        notes=notes,
        crops=_crops(reference, chosen),
        data=_hover_data(reference, chosen, [(arm.name, found) for arm, found, *_ in spaces], flat),
        present=tuple(np.unique(labels).tolist()),
    )


@dataclass(frozen=True)
class Flat:
    """Places of pixels on two maps, each in a square of 1000 by 1000.

    Attributes:
        pca: Along the two directions of most variance.
        tsne: By t-SNE.
        explained: Shares of the variance along the two directions, in percent.
    """

    pca: Int[np.ndarray, "n 2"]
    tsne: Int[np.ndarray, "n 2"]
    explained: tuple[float, float]


def flatten_all(spaces: Sequence[Float[np.ndarray, "n _"]]) -> list[Flat]:
    """PCA and t-SNE of the same rows in several spaces, turned to lie as the first does.

    t-SNE (van der Maaten and Hinton, JMLR 2008) runs on the first 50 principal components from the first two of them,
    with perplexity 30 (a third of the pixels, if these are few), so equal rows give equal maps. Two maps at a time, a
    thread each: threads within one would make sums, and with them the map, depend on the machine.
    """
    from threadpoolctl import threadpool_limits

    components = [principal_components(rows) for rows in spaces]
    with threadpool_limits(1), ThreadPoolExecutor(2) as pool:
        mapped = list(pool.map(_tsne, [rows for rows, _ in components]))
    flat: list[Flat] = []
    for (rows, explained), tsne in zip(components, mapped, strict=True):
        first, second = (*explained[:2], 0.0)[:2]
        plane = np.pad(rows[:, :2], ((0, 0), (0, max(2 - rows.shape[1], 0))))
        pca_map = _flipped(plane, components[0][0][:, :2]) if flat else plane
        tsne_map = _turned(tsne, mapped[0]) if flat else tsne
        flat.append(Flat(_in_square(pca_map), _in_square(tsne_map), (float(first), float(second))))
    return flat


def principal_components(rows: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, " p"]]:
    """Rows along the at most 50 directions of most variance, and the shares of the variance there, in percent.

    All zero where the rows do not differ, as those of collapsed embeddings.
    """
    sides, sizes, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    sizes = np.where(sizes > 1e-9, sizes, 0.0)
    shares: np.ndarray = 100 * sizes**2 / max(float((sizes**2).sum()), 1e-12)
    return (sides * sizes)[:, :_COMPONENTS], shares[:_COMPONENTS]


def measure(rows: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]) -> Measures:
    """Tell how far apart the classes are, in the space itself."""
    from sklearn.metrics import silhouette_score

    several = 1 < len(np.unique(labels)) < len(labels)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    count = min(_NEIGHBOURS, len(rows) - 1)
    nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count] if count else np.zeros((len(rows), 0), dtype=int)
    vectors, ids = torch.from_numpy(rows), torch.from_numpy(labels.astype(np.int64))
    within, between = mean_similarities(vectors, ids, int(labels.max()) + 1)
    return Measures(
        neighbours=100 * float((labels[nearest] == labels[:, None]).mean()) if count else 0.0,
        silhouette=float(silhouette_score(rows, labels, metric="cosine")) if several else 0.0,
        within=float(within),
        between=float(between),
        rank=float(effective_rank(vectors, ids)),
        dimension=rows.shape[1],
    )


def points_path(places: Int[np.ndarray, "n 2"]) -> str:
    """A path of dots: lines of no length, which round caps make visible."""
    return "".join(f"M{x} {y}h0" for x, y in places.tolist())


def _perplexity(num_rows: int) -> float:
    return min(_PERPLEXITY, (num_rows - 1) / 3)


def _tsne(rows: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n 2"]:
    from sklearn.manifold import TSNE

    if len(rows) < 4 or rows.shape[1] < 2 or not rows.any():
        return np.pad(rows[:, :2], ((0, 0), (0, max(2 - rows.shape[1], 0))))
    places: np.ndarray = TSNE(perplexity=_perplexity(len(rows)), init="pca", random_state=_SEED).fit_transform(rows)
    return places.astype(np.float64)


def _turned(places: Float[np.ndarray, "n 2"], onto: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Turn and mirror a map to lie most like another (orthogonal Procrustes); distances stay as they are."""
    from scipy.linalg import orthogonal_procrustes

    centred, target = places - places.mean(0), onto - onto.mean(0)
    turned: np.ndarray = centred @ orthogonal_procrustes(centred, target)[0]
    return turned


def _flipped(places: Float[np.ndarray, "n 2"], onto: Float[np.ndarray, "n _"]) -> Float[np.ndarray, "n 2"]:
    """Mirror each axis of a PCA, whose signs mean nothing, to run as another's does."""
    onto = np.pad(onto, ((0, 0), (0, 2 - onto.shape[1])))
    flipped: np.ndarray = places * np.where((places * onto).sum(0) < 0, -1.0, 1.0)
    return flipped


def _in_square(places: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, "n 2"]:
    """Fit a map into the square, both axes by one factor, the second pointing up."""
    centred = places - (places.max(0) + places.min(0)) / 2
    size = max(float((centred.max(0) - centred.min(0)).max()), 1e-12)
    scaled = centred * np.asarray([1, -1]) / size * (_SIDE - 40) + _SIDE / 2
    places_in_square: np.ndarray = np.round(scaled).astype(np.int64)
    return places_in_square


def _svg(places: Int[np.ndarray, "n 2"], labels: Int[np.ndarray, " n"], name: str) -> Markup:
    paths = (
        Markup('<path class="points c{}" d="{}"/>').format(label, points_path(places[labels == label]))
        for label in np.unique(labels).tolist()
    )
    return Markup(
        '<svg viewBox="0 0 {s} {s}" role="application" tabindex="0" aria-label="Map of pixels: {}. Arrow keys go from'
        ' pixel to pixel."><g class="cloud">{}</g><circle class="ring" r="16" hidden/></svg>'
    ).format(name, Markup("").join(paths), s=_SIDE)


def _about(found: PixelEmbeddings, shown: int) -> str:
    return (
        f"{shown} pixels of {len(np.unique(found.image))} images of the {found.split} split, equally many of each "
        f"class as far as it has them, drawn by seed {found.seed}. Embeddings at unit length. "
        f"t-SNE: perplexity {_perplexity(shown):.3g}, from the first 50 principal components, or all, seed {_SEED}; "
        "distances between far groups mean nothing in it."
    )


def _crops(found: PixelEmbeddings, chosen: np.ndarray) -> str:
    """The sheet of the pixels that are shown, as the address of itself."""
    side, columns = int(found.crop_side), int(found.crop_columns)
    sheet = read_sheet(found.crops, len(chosen))
    corners = [(i % columns * side, i // columns * side) for i in np.flatnonzero(chosen).tolist()]
    squares = [sheet.crop((x, y, x + side, y + side)) for x, y in corners]
    with Image.open(io.BytesIO(as_sheet(squares).tobytes())) as kept:
        return data_uri(kept, "JPEG", quality=75)


def _hover_data(
    reference: PixelEmbeddings,
    chosen: np.ndarray,
    spaces: Sequence[tuple[str, PixelEmbeddings]],
    flat: Sequence[Flat],
) -> dict[str, Any]:
    def of(values: np.ndarray) -> list[Any]:
        return list(values[chosen].tolist())

    return {
        "classes": [str(name) for name in reference.classes],
        "names": [str(name) for name in reference.names],
        "image": of(reference.image),
        "row": of(reference.row),
        "column": of(reference.column),
        "label": of(reference.label),
        "crops": {"side": int(reference.crop_side), "columns": COLUMNS},
        "maps": [
            {
                "arm": name,
                "tsne": shape.tsne.tolist(),
                "pca": shape.pca.tolist(),
                "prediction": of(found.prediction),
                "probability": of(np.round(100 * found.probability).astype(int)),
            }
            for (name, found), shape in zip(spaces, flat, strict=True)
        ],
    }
