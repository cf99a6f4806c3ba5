"""What an annotation teaches a model that finds numbers: a place, that there is no number, or nothing."""

from dataclasses import replace

from beam_jobs.annotation import Annotation, RejectedError
from tfrecords.dataset.manifest import UNKNOWN_SPLIT

NO_BOX = "no_box"
"""Reason of a number of which no box is known."""


def check_box(annotation: Annotation, split: str) -> Annotation:
    """Returns an annotation for finding: without a text if there is no number, with a dead letter if it has no box.

    Args:
      annotation: Annotation that `check_label` has seen. The dead letter of a picture without a number, or of a box of
        another class, is removed: there is no number, which is something to learn. Other dead letters stay.
      split: Split of the picture; in `predict`, numbers are not known.
    """
    if annotation.dead:
        return replace(annotation, text="", dead=None) if annotation.dead.no_number else annotation
    if annotation.placed or (not annotation.text and split == UNKNOWN_SPLIT):
        return annotation
    rule = f"{annotation.key}: A number to find must have a box, or its characters must."
    return replace(annotation, dead=RejectedError("annotation", NO_BOX, rule, "no box").letter)
