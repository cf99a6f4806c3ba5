"""Whether a record can hold the number of an annotation."""

from dataclasses import replace

from beam_jobs.annotation import Annotation, RejectedError
from tfrecords.dataset.manifest import UNKNOWN_SPLIT
from tfrecords.record.labels import DIGITS, Labels


def check_label(annotation: Annotation, labels: Labels, split: str) -> Annotation:
    """Returns the annotation, with a dead letter if its number is empty, too long or of other characters.

    Args:
      annotation: Annotation; one that has a dead letter keeps it.
      labels: What the dataset's numbers may be.
      split: Split of the picture; in `predict`, numbers are not known.
    """
    text, unknown = annotation.text, labels.unknown(annotation.text)
    if annotation.dead or (text and len(text) <= labels.max_length and not unknown):
        return annotation
    if not text and split == UNKNOWN_SPLIT:
        return annotation
    reason, rule = "unknown_character", f"A number must be of the characters {labels.alphabet!r}."
    received = f"{unknown!r} in {text!r}"
    if not text:
        reason, rule, received = "no_text", "A number must have at least one character.", "''"
    elif not unknown:
        what = "digits" if labels.alphabet == DIGITS else "characters"
        reason, rule, received = "too_long", f"A number must have at most {labels.max_length} {what}.", str(len(text))
    return replace(annotation, dead=RejectedError("annotation", reason, f"{annotation.key}: {rule}", received).letter)
