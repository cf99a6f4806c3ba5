"""The cards of a dataset that is complete: written where they are missing, and with what its owner states now."""

from beam_jobs.prepare.plan import Plan
from tfrecords.cards.facts import Facts, load_about, read_statistics, save_about
from tfrecords.cards.files import CARDS, make_cards, write_cards
from tfrecords.dataset.about import About
from tfrecords.dataset.manifest import MANIFEST, Manifest


def describe_again(plan: Plan) -> None:
    """Writes the cards of a complete dataset if they are missing, or the owner states something else of it now.

    What is not stated again stays. Shards and manifest do not change.

    Args:
      plan: Plan of the dataset, whose output is locked.

    Raises:
      UserError: A file cannot be read or written.
    """
    before = load_about(plan.output)
    about = (plan.about or About()).over(before.to_dict())
    if about == before and all(plan.path(name).is_file() for name in CARDS):
        return
    place = plan.path(MANIFEST)
    content = place.read_bytes()
    manifest = Manifest.parse(content, str(place))
    write_cards(plan.output, make_cards(Facts(manifest, about, read_statistics(plan.output, manifest)), content))
    # Last, so that the same command after a kill finds the difference again.
    save_about(plan.output, about)
    news = ", with what is stated of the dataset now" if about != before else ""
    print(f"{' and '.join(CARDS)} were written{news}")
