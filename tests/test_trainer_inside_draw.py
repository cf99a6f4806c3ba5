"""Colours of heat maps and overlays."""

import numpy as np

from trainer.inside import draw


def test_colours_run_from_blue_over_white_to_orange() -> None:
    values = np.array([[-2.0, -1.0, 0.0, 1.0, 2.0, np.nan]])
    blue, white, orange, grey = (33, 102, 172), (255, 255, 255), (230, 97, 1), (128, 128, 128)
    drawn = [tuple(colour) for colour in draw.diverging(values)[0].tolist()]
    assert drawn[::2] == [blue, white, orange] and drawn[5] == grey
    assert drawn[1] == (144, 178, 214) and drawn[3] == (242, 176, 128)
    assert draw.diverging(values, limit=1.0)[0, :2].tolist() == [[*blue]] * 2
    assert (draw.diverging(np.zeros((2, 3))) == 255).all()


def test_heat_covers_a_grey_image_in_orange() -> None:
    image = np.array([[[30, 60, 90]] * 3], np.uint8)
    drawn = draw.overlay(image, np.array([[0.0, 0.5, 1.0]]))
    assert drawn[0].tolist() == [[60, 60, 60], [128, 75, 36], [196, 90, 13]]
    large = draw.enlarge(drawn, 3)
    assert large.shape == (3, 9, 3) and (large[:, 3:6] == drawn[0, 1]).all()
