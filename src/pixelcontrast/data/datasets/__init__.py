"""Data sets, a file each, read as they lie on disk."""

from pixelcontrast.data.datasets.camvid import Camvid
from pixelcontrast.data.datasets.synthetic import Synthetic

# The registry: a new data set is a file and its name here. `name` tells them apart in a recipe.
DataSet = Synthetic | Camvid

__all__ = ["Camvid", "DataSet", "Synthetic"]
