"""Names of pictures in digitStruct.mat: codes or text, maybe padded to a fixed width."""

import re
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import h5py
import numpy as np
from h5py import h5r

from beam_jobs.annotation import RejectedError
from beam_jobs.sources.svhn.matlab import NUMBER_CLASSES, class_of, read_array, wrong_class

_TEXT_CLASSES = (None, "char", *NUMBER_CLASSES)
_CODE_BYTES = 2
"""Size of the codes of MATLAB's char. No other class than char and numbers has values of this size."""
_PLAIN_NAME = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z_.-]*", re.ASCII)
_NOT_IN_NAMES = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Unicode categories: controls, lone surrogates (not in UTF-8, so not in JSON or Parquet), ends of lines."""


def read_name(file: h5py.File, reference: h5py.Reference, where: str) -> str:
    """Returns the name that a reference points to, without padding.

    Args:
      file: Open digitStruct.mat.
      reference: Reference to the name.
      where: File and entry, for messages.

    Raises:
      RejectedError: It is missing, of another class than char, or no plain file name.
    """
    dataset = h5r.dereference(reference, file.id)
    values = read_array(dataset)
    if not len(values):
        raise RejectedError("annotation", "no_value", f"{where}: A picture must have a name.", "[]")
    if values.dtype.kind not in "iuSO":
        raise wrong_class(dataset, where, "a name", "char")
    if values.dtype.itemsize != _CODE_BYTES and class_of(dataset) not in _TEXT_CLASSES:
        raise wrong_class(dataset, where, "a name", "char")
    if max(dataset.shape, default=1) < len(values):
        rule = f"{where}: A picture must have one name."
        raise RejectedError("annotation", "bad_name", rule, f"letters in {dataset.shape[0]} x {dataset.shape[1]}")
    stored = _text(values)
    name = _without_padding(stored, Path(file.filename).parent)
    if not is_plain_name(name):
        rule = f"{where}: A picture's name must be a plain file name."
        raise RejectedError("annotation", "bad_name", rule, repr(stored))
    return name


def is_plain_name(name: str) -> bool:
    """Returns whether a picture's name is a plain file name on every system, and printable on one line.

    Names come from outside: such a name cannot point out of the subset's folder.
    """
    if _PLAIN_NAME.fullmatch(name):  # all names of SVHN; twenty times as fast
        return True
    plain = PurePosixPath(name).name == name == PureWindowsPath(name).name
    return plain and name not in ("", ".", "..") and _NOT_IN_NAMES.isdisjoint(map(unicodedata.category, name))


def is_plain_without_padding(name: str) -> bool:
    """Returns whether a stored name is a plain file name that ends with neither a blank nor a zero."""
    return not name.endswith((" ", "\0")) and is_plain_name(name)


def _text(values: np.ndarray[Any, Any]) -> str:
    """Returns the text of an array of UTF-16 or UTF-32 codes, or of UTF-8 text (not by MATLAB)."""
    if values.dtype.kind in "SO":
        return b"".join(values.tolist()).decode("utf-8", "surrogateescape")
    codes = "".join(map(chr, values.tolist()))
    # A pair of surrogates becomes its letter; a lone surrogate stays, and no plain name contains one.
    return codes.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _without_padding(stored: str, folder: Path) -> str:
    """Returns a name without zeros and blanks at its end; blanks stay if a file in `folder` has them in its name."""
    padded = stored.rstrip("\0")
    name = padded.rstrip("\0 ")
    return padded if name != padded and is_plain_name(padded) and _is_file(folder / padded) else name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False
