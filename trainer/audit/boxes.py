"""Boxes that are probably wrong: of characters that stand in another order than the label."""

from trainer.audit.pictures import Pictures
from trainer.audit.suspects import BOX_ORDER, Suspect


def order_suspects(pictures: Pictures) -> list[Suspect]:
    """Returns the numbers whose boxes spell another number from left to right than the label."""
    return [
        Suspect(key, BOX_ORDER, 1.0, text, spelt, {"left_to_right": spelt})
        for key, text, spelt in zip(pictures.keys, pictures.texts, pictures.order, strict=True)
        if spelt != text
    ]
