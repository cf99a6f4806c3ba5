"""The cards of a dataset that is complete: written where they are missing, and with what its owner states now."""

from dataclasses import replace

from beam_jobs.prepare.plan import Plan
from tfrecords.cards.facts import Facts, load_about, read_statistics
from tfrecords.cards.files import CARDS, make_cards, write_cards
from tfrecords.dataset.manifest import MANIFEST, Manifest


def describe_again(plan: Plan) -> None:
    """Writes the cards of a complete dataset, and its manifest, if the owner states something else of it now.

    Nothing is done for a dataset that has its cards, unless something is stated. What is not stated again stays.

    Args:
      plan: Plan of the dataset, whose output is locked.

    Raises:
      UserError: A file cannot be read or written.
    """
    place = plan.path(MANIFEST)
    content = place.read_bytes()
    manifest = Manifest.parse(content, str(place))
    before = load_about(plan.output, manifest)
    about = plan.about.over(before.to_dict()) if plan.about else before
    if about == before and all(plan.path(name).is_file() for name in CARDS):
        return
    if about != before:
        manifest = replace(manifest, about=about.to_dict())
        content = manifest.to_json().encode()
    cards = make_cards(Facts(manifest, about, read_statistics(plan.output, manifest)), content)
    write_cards(plan.output, cards)
    if about != before:
        place.write([content])
        print(f"{', '.join(CARDS)} and {MANIFEST} have what is stated of the dataset now")
    else:
        print(f"{', '.join(CARDS)} were written")
