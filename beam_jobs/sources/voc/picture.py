"""One XML file of Pascal VOC to the annotations of its picture."""

from collections.abc import Iterable
from xml.etree.ElementTree import Element

from beam_jobs.annotation import Annotation
from beam_jobs.sources import markup
from beam_jobs.sources.marks import TEXT_NAMES, Fault, Mark, annotations_of, make_box, rejected, unannotated
from beam_jobs.sources.voc.folders import Listing, where
from tfrecords.errors import UserError

NAME = "name"
"""Value of `--text-attribute` with which the class of an object is its number."""


def read_file(
    listing: Listing, index: int, data: bytes | None, subset: str, attribute: str | None, digit_order: str
) -> list[Annotation]:
    """Returns the annotations of a picture, at least one.

    Args:
      listing: Files of the subset.
      index: Index of the file in them, and of the first annotation.
      data: Content of the file; None if it is not there.
      subset: Name of the subset.
      attribute: Name of the attribute that holds the numbers; None for the usual ones; `name` for the class.
      digit_order: Reading order.
    """
    file, picture = listing.files[index], listing.resolved[index]
    if data is None:
        if picture:
            return [unannotated(subset, picture, index, f"The picture has no {file}.")]
        rule = "A name in a list of ImageSets must have an XML file or a picture."
        return [rejected(subset, file, index, Fault("missing_annotation", rule, file))]
    try:
        root = markup.parse(data)
        if root.tag != "annotation":
            raise UserError("Pascal VOC begins with <annotation>.", f"<{root.tag}>"[:100])
    except UserError as error:
        return [rejected(subset, picture or file, index, Fault("damaged", f"{file}: {error}"))]
    if not picture:
        given = (root.findtext("filename") or "").strip()
        picture = listing.picture_named(given) or _missing_name(given, file)
    marks = [_mark(each, attribute) for each in root.findall("object")]
    return annotations_of(subset, picture, index, marks, digit_order)


def _missing_name(given: str, file: str) -> str:
    """Returns the name of a picture that is not there: in the place of its file, as that gives it if with a suffix."""
    base = given.replace("\\", "/").rpartition("/")[2]
    base = base if "." in base.strip(".") else file.rpartition("/")[2][: -len(".xml")]
    return "/".join((*where(file), base))


def _mark(item: Element, attribute: str | None) -> Mark:
    """Returns the box of an object."""
    label = (item.findtext("name") or "").strip()
    edges, attributes = item.find("bndbox"), item.find("attributes")
    text, fault = "", None
    if attribute or attributes is not None:
        text, fault = _text(item, attributes if attributes is not None else (), attribute)
    if edges is None:
        shape = next((each.tag for each in item if each.tag in ("robndbox", "polygon")), "")
        reason = {"robndbox": "rotated_box", "polygon": "not_a_box", "": "bad_box"}[shape]
        wrong = Fault(
            reason, "An object must have an upright box, a bndbox.", f"<{shape or 'object'}> of class {label}"
        )
        return Mark(label, text, None, fault=fault or wrong)
    find = edges.findtext
    box, bad = make_box(find("xmin"), find("ymin"), find("xmax"), find("ymax"))
    return Mark(label, text, box, "", fault or bad)


def _text(item: Element, attributes: Iterable[Element], attribute: str | None) -> tuple[str, Fault | None]:
    """Returns the number that an attribute or a child of an object holds, empty if none does; or what is wrong.

    Args:
      item: Object.
      attributes: Its attributes, each with a name and a value, as CVAT writes them.
      attribute: Name of the one that holds the number; None for the usual ones.
    """
    pairs = [(each.findtext("name", "").strip(), each.findtext("value", "").strip()) for each in attributes]
    turned = next((value for name, value in pairs if name == "rotation"), "0")
    try:
        if float(turned) % 360:
            return "", Fault("rotated_box", "The rotation of a box must be 0: draw the box upright.", turned)
    except ValueError:
        return "", Fault("bad_box", "The rotation of a box must be a number.", turned[:40])
    pairs += [(attribute, (item.findtext(attribute) or "").strip())] if attribute and attribute.isidentifier() else []
    texts = {text: name for name, text in pairs if text and _holds_text(name, attribute)}
    if len(texts) > 1:
        rule = f"A box must have one text; --text-attribute chooses one of {', '.join(texts.values())}."
        return "", Fault("several_texts", rule, ", ".join(texts)[:200])
    return next(iter(texts), ""), None


def _holds_text(name: str, attribute: str | None) -> bool:
    return name == attribute if attribute else name.lower() in TEXT_NAMES
