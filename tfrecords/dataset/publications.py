"""The published data sets that sources were made for: their pages, terms and papers.

A source is a format, and other pictures come in it too: drawn ones, or a user's own. Only the published subsets, which
are known by their numbers of pictures, have the publication's terms.
"""

from typing import NamedTuple

from tfrecords.dataset.about import About
from tfrecords.dataset.manifest import Manifest


class Publication(NamedTuple):
    """Publication of a source.

    Attributes:
      title: Title, for a sentence.
      homepage: Address; empty where the pictures are the user's own, and so for the terms and the citation.
      terms: Terms of use.
      citation: Paper, BibTeX.
      has_digit_boxes: Whether each of its digits has a box.
      creator: Who made it.
      licence: SPDX's identifier of its licence, or its terms; None where its page states none.
      pictures: Number of pictures of each subset, as published.
    """

    title: str
    homepage: str = ""
    terms: str = ""
    citation: str = ""
    has_digit_boxes: bool = False
    creator: str = ""
    licence: str | None = None
    pictures: tuple[tuple[str, int], ...] = ()


PUBLICATIONS = {
    "svhn": Publication(
        "Street View House Numbers (SVHN, Format 1)",
        "http://ufldl.stanford.edu/housenumbers/",
        "SVHN's pictures are for non-commercial use only.",
        """\
@inproceedings{netzer2011reading,
  title={Reading Digits in Natural Images with Unsupervised Feature Learning},
  author={Netzer, Yuval and Wang, Tao and Coates, Adam and Bissacco, Alessandro and Wu, Bo and Ng, Andrew Y.},
  booktitle={NIPS Workshop on Deep Learning and Unsupervised Feature Learning},
  year={2011}
}""",
        has_digit_boxes=True,
        creator="Yuval Netzer, Tao Wang, Adam Coates, Alessandro Bissacco, Bo Wu and Andrew Y. Ng",
        licence="non-commercial use only",
        pictures=(("train", 33_402), ("test", 13_068), ("extra", 202_353)),
    ),
    "mnist": Publication(
        "MNIST handwritten digits",
        "http://yann.lecun.com/exdb/mnist/",
        "",
        """\
@article{lecun1998gradient,
  title={Gradient-Based Learning Applied to Document Recognition},
  author={LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick},
  journal={Proceedings of the IEEE},
  volume={86},
  number={11},
  pages={2278--2324},
  year={1998}
}""",
        creator="Yann LeCun, Corinna Cortes and Christopher J. C. Burges",
        pictures=(("train", 60_000), ("test", 10_000)),
    ),
    "optdigits": Publication(
        "UCI Optical Recognition of Handwritten Digits",
        "https://archive.ics.uci.edu/dataset/80",
        "Creative Commons Attribution 4.0 International",
        """\
@misc{alpaydin1998optdigits,
  title={Optical Recognition of Handwritten Digits},
  author={Alpaydin, E. and Kaynak, C.},
  howpublished={UCI Machine Learning Repository},
  doi={10.24432/C50P49},
  year={1998}
}""",
        creator="E. Alpaydin and C. Kaynak",
        licence="CC-BY-4.0",
        pictures=(("train", 3_823), ("test", 1_797)),
    ),
}
"""Publications by source, as named in the configuration of the manifest. Those of other sources are their owners'."""


def publication_of(manifest: Manifest) -> Publication | None:
    """Returns the publication in whose format a dataset's pictures came, whether or not they are its; None without."""
    return PUBLICATIONS.get(manifest.config["source"])


def is_published(manifest: Manifest) -> bool:
    """Returns whether the pictures of a dataset are those of a publication, by the numbers of all its subsets."""
    publication = publication_of(manifest)
    counts = dict(publication.pictures) if publication else {}
    return all(counts.get(source.subset) == source.pictures for source in manifest.sources)


def stated(manifest: Manifest, about: About) -> About:
    """Returns what is known of a dataset: what its owner states, and for the rest what its publication does.

    Args:
      manifest: Manifest of the dataset.
      about: What its owner states.
    """
    publication = publication_of(manifest)
    if publication is None or not is_published(manifest):
        return about
    known = {name: getattr(publication, name) for name in ("licence", "citation", "homepage", "creator")}
    return about.over({name: value for name, value in known.items() if value})
