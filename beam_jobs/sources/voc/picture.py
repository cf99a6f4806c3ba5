"""One XML file of Pascal VOC to the annotations of its picture."""

from xml.etree.ElementTree import Element

from beam_jobs.annotation import Annotation
from beam_jobs.sources import markup
from beam_jobs.sources.marks import TEXT_NAMES, Fault, Mark, annotations_of, make_box, rejected, unannotated
from beam_jobs.sources.voc.folders import Listing, where
from tfrecords.errors import UserError

NAME = "name"
"""Value of `--text-attribute` with which the class of an object is its number."""
_NO_EDGES: dict[str, str | None] = {}


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
    given = (root.findtext("filename") or "").strip()
    if not picture:
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
    label, edges, shape, texts = "", _NO_EDGES, "", {}
    turned: str | None = None
    for child in item:
        tag = child.tag
        if tag == "name":
            label = (child.text or "").strip()
        elif tag == "bndbox":
            edges = {edge.tag: edge.text for edge in child}
        elif tag in ("robndbox", "polygon"):
            shape = tag
        elif tag == "attributes":
            pairs = [(each.findtext("name", "").strip(), each.findtext("value", "").strip()) for each in child]
            turned = next((value for name, value in pairs if name == "rotation"), None)
            texts.update({text: name for name, text in pairs if text and _holds_text(name, attribute)})
        if tag == attribute and (text := (child.text or "").strip()):
            texts[text] = tag
    text, fault = next(iter(texts), ""), _fault_of(texts, shape if edges is _NO_EDGES else "", turned)
    if edges is _NO_EDGES:
        fault = fault or Fault("bad_box", "An object must have a bndbox.", f"class {label or 'none'}")
        return Mark("" if text else label, text, None, fault=fault)
    box, wrong = make_box(edges.get("xmin"), edges.get("ymin"), edges.get("xmax"), edges.get("ymax"))
    return Mark(label, text, box, fault=fault or wrong)


def _holds_text(name: str, attribute: str | None) -> bool:
    return name == attribute if attribute else name.lower() in TEXT_NAMES


def _fault_of(texts: dict[str, str], shape: str, turned: str | None) -> Fault | None:
    """Returns what is wrong with an object, besides its edges.

    Args:
      texts: Names of the attributes that hold each of its texts.
      shape: Tag of its shape, if it has no upright box.
      turned: Its rotation, degrees.
    """
    if shape:
        reason = "rotated_box" if shape == "robndbox" else "not_a_box"
        return Fault(reason, "An object must have an upright box, a bndbox.", f"<{shape}>")
    try:
        if turned and float(turned) % 360:
            return Fault("rotated_box", "The rotation of a box must be 0: draw the box upright.", turned)
    except ValueError:
        return Fault("bad_box", "The rotation of a box must be a number.", turned)
    if len(texts) > 1:
        rule = f"A box must have one text; --text-attribute chooses one of {', '.join(texts.values())}."
        return Fault("several_texts", rule, ", ".join(texts)[:200])
    return None
