"""A data set of the Hugging Face hub, or parquet files on this disk, with a column of images and one of labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pixelcontrast.data.class_files import id_files, read_classes
from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace
from pixelcontrast.data.options import DataOptions
from pixelcontrast.data.parquet import ParquetTable
from pixelcontrast.data.rows import Rows, Table
from pixelcontrast.data.sources import Found
from pixelcontrast.errors import DataError
from pixelcontrast.files import expanded

_CLASS_FILES = ("classes.yaml", "id2label.json")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Hub(DataOptions):
    """Any data set of the Hugging Face hub, or folder of parquet files, with an image and a label column.

    Layout: a repository of the hub (data.root=OWNER/NAME) or a folder of *.parquet, whose rows hold an image and a
    picture of label ids, and id2label.json or classes.yaml beside them.

    Needs the extra `hub` (the library datasets). A repository is downloaded to its cache, unless `streaming` is on:
    then parquet files are read where they lie, some hundred rows at a time, and the order of training stays within four
    such blocks for a while; each worker reads its own. A row may go without labels in a test split,
    and if that is not streamed, the whole column may be missing.

    Attributes:
        root: The repository's name, or the folder.
        subset: The repository's configuration, where it has several.
        revision: Branch, tag or commit of the repository.
        image_column: Column of images.
        label_column: Column of pictures of label ids.
        train_split: What the data set calls its training split; may be a slice, such as `train[:90%]`.
        val_split: The same for the split to evaluate on.
        test_split: The same for the split `test`.
        classes: File of classes, YAML as for `folder`, or id2label.json; by default the one beside the data. A
            path is relative to the working directory.
        ignore_ids: Ids in the pictures that mean no class.
        reduce_zero_label: Whether 0 means no class and 1 is the first one.
        streaming: Read parquet files where they lie rather than download them.
    """

    name: Literal["hub"] = "hub"
    batch_size: int = 16
    crop_size: tuple[int, int] = (512, 512)
    subset: str | None = None
    revision: str | None = None
    image_column: str = "image"
    label_column: str = "label"
    train_split: str = "train"
    val_split: str = "validation"
    test_split: str = "test"
    classes: str | None = None
    ignore_ids: tuple[int, ...] = (IGNORE_INDEX,)
    reduce_zero_label: bool = False
    streaming: bool = False

    @property
    def label_space(self) -> LabelSpace:
        """The classes in the order of their ids, or of the YAML file.

        Raises:
            DataError: If there is no file of classes, or it holds something else.
        """
        return read_classes(self._classes_path())[0]

    def find(self, split: str) -> Found:
        """Open the table of a split."""
        called = {"train": self.train_split, "val": self.val_split, "test": self.test_split}[split]
        path = self._classes_path()
        space, ids = read_classes(path)
        labels = id_files(ids, ignore_ids=self.ignore_ids, reduce_zero_label=self.reduce_zero_label, classes=path)
        table = self._streamed(called) if self.streaming else self._downloaded(called)
        where = Path(self._source()) / called
        return Found(Rows(table, space, labels, self.image_column, self.label_column, where))

    def _source(self) -> str:
        if self.root is None:
            raise DataError(f"Hub needs its data; set data.root=OWNER/NAME or PATH. Expected there: {self.layout()}")
        if _REPOSITORY.fullmatch(self.root) and not Path(self.root).is_dir():
            return self.root
        return str(self.folder())

    def _downloaded(self, split: str) -> Table:
        datasets = _library()
        try:
            rows = datasets.load_dataset(self._source(), name=self.subset, revision=self.revision, split=split)
        except Exception as error:  # the library passes on whatever its readers and the network raise
            raise self._refused(split, error) from error
        missing = [name for name in (self.image_column, self.label_column) if name not in rows.column_names]
        if missing and (missing != [self.label_column] or split != self.test_split):
            raise DataError(
                f"{self.root}: expected a column '{missing[0]}', got {', '.join(rows.column_names)}; "
                "set data.image_column and data.label_column"
            )
        rows = rows.remove_columns([name for name in rows.column_names if name not in self._columns()])
        for column in rows.column_names:
            try:
                rows = rows.cast_column(column, datasets.Image(decode=False))  # the bytes as they are: we decode them
            except Exception as error:  # of the library, or of pyarrow below it
                held = getattr(rows.features[column], "dtype", type(rows.features[column]).__name__)
                raise DataError(
                    f"{self.root}: expected images in the column '{column}', got {held}; set data.image_column and "
                    "data.label_column to columns of pictures"
                ) from error
        table: Table = rows
        return table

    def _streamed(self, split: str) -> Table:
        datasets = _library()
        try:
            builder = datasets.load_dataset_builder(self._source(), name=self.subset, revision=self.revision)
            found = builder.config.data_files or {}
        except Exception as error:
            raise self._refused(split, error) from error
        files = [str(file) for file in found.get(split, ())]
        if not files:
            known = ", ".join(map(str, found)) or "none"
            raise DataError(f"{self.root}: expected a split '{split}', got {known}; a stream cannot be sliced")
        if other := [file for file in files if not file.endswith(".parquet")]:
            raise DataError(
                f"{self.root}: streaming needs parquet files, got {other[0]}; set data.revision=refs/convert/parquet, "
                "where the hub keeps such files, or data.streaming=false"
            )
        return ParquetTable.open(files, self._columns())

    def _columns(self) -> tuple[str, str]:
        return self.image_column, self.label_column

    def _refused(self, split: str, error: Exception) -> DataError:
        while error.__cause__ is not None and isinstance(error.__cause__, Exception):
            error = error.__cause__
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return DataError(
            f"{self.root}: expected a repository of the hub or a folder of parquet files with the split '{split}'; "
            f"{reason}"
        )

    def _classes_path(self) -> Path:
        source = Path(self._source())
        if self.classes is not None:
            return expanded(self.classes)
        if source.is_dir():
            return next((source / name for name in _CLASS_FILES if (source / name).is_file()), source / _CLASS_FILES[0])
        return self._fetched_classes()

    def _fetched_classes(self) -> Path:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

        reason = "it has no file of classes"
        for name in reversed(_CLASS_FILES):  # the hub's own first
            try:
                return Path(hf_hub_download(self._source(), name, repo_type="dataset", revision=self.revision))
            except EntryNotFoundError:
                continue
            except (HfHubHTTPError, HFValidationError, OSError) as error:
                reason = str(error).strip().splitlines()[0]
                break
        raise DataError(
            f"{self.root}: no such folder, and no file of classes to be had from a repository of that name: {reason}. "
            "Set data.classes=PATH to a YAML list of names, or an id2label.json"
        )


def _library() -> Any:  # noqa: ANN401 - a module that may not be installed
    try:
        import datasets
    except ImportError as error:
        raise DataError("data sets of the hub need the library datasets: pip install 'pixelcontrast[hub]'") from error
    return datasets
