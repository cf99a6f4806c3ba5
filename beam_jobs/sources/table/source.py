"""Tables of pictures and numbers as a `Source`."""

from collections.abc import Iterator
from dataclasses import replace

from beam_jobs import filesystem
from beam_jobs.annotation import Annotation
from beam_jobs.sources.base import Input, Source, SourceOptions, Subset, check_subset_names
from beam_jobs.sources.table.files import find_tables, shards_of
from beam_jobs.sources.table.load import Table, forget, load
from beam_jobs.sources.table.parquet import read_embedded
from tfrecords.errors import UserError
from tfrecords.files.place import Place


class TableSource(Source):
    """Reader of tables."""

    title = "CSV, TSV, JSON lines or Parquet"
    expects = (
        "a table with a column of pictures' paths or URLs and a column of numbers, and one box at most; or a folder of "
        "tables, or with Hugging Face's metadata.csv, metadata.jsonl or metadata.parquet"
    )
    options = ("picture_column", "text_column", "box_columns", "box_format", "split_column")
    takes_media_root = True

    def find_subsets(self, given: Input, options: SourceOptions) -> tuple[Subset, ...]:
        """Returns the subsets of a table or a folder: the values of the split column, else one for each table.

        Args:
          given: Table or folder; `media_root` is the folder of the pictures, if not the table's.
          options: Names of the columns, and the meaning of the box's numbers.

        Raises:
          UserError: There is nothing to read, the columns are not clear, or a wanted subset is missing.
        """
        if given.media_root and given.media_root.has_listing and not given.media_root.is_dir():
            raise UserError("media_root must be a folder that exists.", given.media_root)
        forget()
        found = find_tables(given.place, given.wanted)
        wanted = {name.lower() for name in given.wanted}
        subsets: dict[str, Subset] = {}
        fixed = len(found.tables) > 1
        for default, place in found.tables.items():
            if fixed and wanted and wanted <= set(found.tables) and default not in wanted:
                continue  # A table that nobody wants may be damaged.
            folder = str(given.media_root or place.parent)
            table = load(str(place), folder, options)
            for name, subset in _describe(default, str(place), folder, table).items():
                if name in subsets:
                    rule = f"{given.place} must hold each subset once; give one table as --input. Both are {name}:"
                    raise UserError(rule, f"{subsets[name].path}, {subset.path}")
                subsets[name] = subset
            fixed = fixed or "" not in table.subsets
        return _wanted(given, subsets, fixed)

    def unread(self, given: Input, subsets: tuple[Subset, ...], options: SourceOptions) -> tuple[str, ...]:
        """Returns the tables in an input folder that are in none of the subsets, sorted."""
        found = find_tables(given.place, tuple(subset.name for subset in subsets))
        read = {subset.path for subset in subsets}
        return tuple(sorted({*map(str, found.tables.values()), *found.unread} - read))

    def read_annotations(
        self, subset: Subset, start: int, stop: int, digit_order: str, options: SourceOptions
    ) -> Iterator[Annotation]:
        """Yields the annotations of a range of rows, and of pictures that no row names; see `Source`.

        Raises:
          UserError: The table cannot be read, or has changed.
        """
        return _load_same(subset, options).entries(subset.name).annotate(subset.name, start, stop)

    def read_picture(self, subset: Subset, name: str) -> bytes:
        """Returns the bytes of a picture: of a file, of an address, or of a row of a Parquet file.

        Raises:
          OSError: The picture is missing or cannot be read.
        """
        if "://" in name:
            return Place(name).read_linked()
        if column := _embedded_column(subset):
            return read_embedded(tuple(shards_of(Place(subset.path))), column, name)
        folder = Place(subset.pictures)
        if folder.is_remote:
            return (folder / name).read_bytes()
        return filesystem.read_local(f"{folder}/{name}")

    def picture_places(self, subset: Subset, name: str) -> tuple[Place, ...]:
        """Returns the place of a picture's file; nothing for an address, and for a row of a Parquet file."""
        if "://" in name or _embedded_column(subset):
            return ()
        return (Place(subset.pictures) / name,)


SOURCE = TableSource()


def _describe(default: str, path: str, folder: str, table: Table) -> dict[str, Subset]:
    """Returns the subsets of a table, by name."""
    pictures = f"{path}#{table.embedded}" if table.embedded else folder
    return {
        name or default: Subset(name or default, path, len(entries), table.sha256, pictures)
        for name, entries in table.subsets.items()
    }


def _embedded_column(subset: Subset) -> str:
    """Returns the name of the column that holds a subset's pictures; empty if they are files."""
    start = f"{subset.path}#"
    return subset.pictures.removeprefix(start) if subset.pictures.startswith(start) else ""


def _wanted(given: Input, subsets: dict[str, Subset], fixed: bool) -> tuple[Subset, ...]:
    """Returns the wanted subsets, in the order of the table; without a split column, the only one can be renamed."""
    names = [name.lower() for name in given.wanted]
    if len(names) == 1 and len(subsets) == 1 and not fixed:
        check_subset_names(given.wanted)
        return tuple(replace(subset, name=names[0]) for subset in subsets.values())
    if missing := [name for name in names if name not in subsets]:
        raise UserError(f"{given.place} holds the subsets {', '.join(subsets)}.", ",".join(missing))
    return tuple(subset for name, subset in subsets.items() if not names or name in names)


def _load_same(subset: Subset, options: SourceOptions) -> Table:
    """Returns the table of a subset, which must be the one that was described.

    Raises:
      UserError: The table has changed.
    """
    pictures = str(Place(subset.path).parent) if _embedded_column(subset) else subset.pictures
    table = load(subset.path, pictures, options)
    if table.sha256 != subset.annotations_sha256:
        forget()
        table = load(subset.path, pictures, options)
    if table.sha256 != subset.annotations_sha256:
        raise UserError(f"{subset.path}, or the pictures in its folder, changed while the job ran.", table.sha256)
    return table
