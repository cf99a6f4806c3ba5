"""What SVHN's authors publish in Format 1: where, how large, with which digests, on what terms."""

from collections.abc import Mapping
from dataclasses import dataclass

BASE_URL = "http://ufldl.stanford.edu/housenumbers/"
NOTICE = f"SVHN is for non-commercial use only: see {BASE_URL}"
# Beyond the archive, whose PNGs hardly shrink: digitStruct.mat has 6,200 to 8,300 bytes a
# picture, and a file leaves half a 4 KiB block empty.
UNPACKED_EXTRA_BYTES_PER_PICTURE = 10_000


@dataclass(frozen=True)
class Archive:
    """A published tar.gz: its size, its SHA-256 in hexadecimal, and how many PNGs it holds."""

    size_bytes: int
    sha256: str
    pictures: int

    @property
    def unpacked_bytes(self) -> int:
        """An estimate, on the safe side, of the disk space its folder takes."""
        return self.size_bytes + self.pictures * UNPACKED_EXTRA_BYTES_PER_PICTURE


# Each is BASE_URL/<subset>.tar.gz and unpacks to a folder named after the subset.
ARCHIVES: Mapping[str, Archive] = {
    "train": Archive(404_141_560, "4b17bb33b6cd8f963493168f80143da956f28ec406cc12f8e5745a9f91a51898", 33_402),
    "test": Archive(276_555_967, "57ac9ceb530e4aa85b55d991be8fc49c695b3d71c6f6a88afea86549efde7fb5", 13_068),
    "extra": Archive(1_955_489_752, "e857e27d1e65bd1e7d3959b094061777f6506bbc39889a0df3bba6a729d60f9c", 202_353),
}
