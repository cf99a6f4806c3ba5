"""The archives of SVHN Format 1: addresses, sizes, digests and terms of use."""

from collections.abc import Mapping
from dataclasses import dataclass

BASE_URL = "http://ufldl.stanford.edu/housenumbers/"
NOTICE = f"SVHN is for non-commercial use only: see {BASE_URL}"
# In addition to the size of the archive, since PNGs do not compress: digitStruct.mat has 6,200 to 8,300 bytes per
# picture, and each file leaves half a block of 4 KiB empty on average.
UNPACKED_EXTRA_BYTES_PER_PICTURE = 10_000


@dataclass(frozen=True)
class Archive:
    """A published tar.gz.

    Attributes:
      size_bytes: Size of the archive.
      sha256: SHA-256 of the archive, in lower-case hexadecimal.
      pictures: Number of PNGs in the archive.
    """

    size_bytes: int
    sha256: str
    pictures: int

    @property
    def unpacked_bytes(self) -> int:
        """Upper estimate of the disk space that the unpacked folder takes."""
        return self.size_bytes + self.pictures * UNPACKED_EXTRA_BYTES_PER_PICTURE


# Each is at BASE_URL/<subset>.tar.gz and contains one folder, named after the subset.
ARCHIVES: Mapping[str, Archive] = {
    "train": Archive(404_141_560, "4b17bb33b6cd8f963493168f80143da956f28ec406cc12f8e5745a9f91a51898", 33_402),
    "test": Archive(276_555_967, "57ac9ceb530e4aa85b55d991be8fc49c695b3d71c6f6a88afea86549efde7fb5", 13_068),
    "extra": Archive(1_955_489_752, "e857e27d1e65bd1e7d3959b094061777f6506bbc39889a0df3bba6a729d60f9c", 202_353),
}
