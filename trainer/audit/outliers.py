"""Pictures whose size, contrast or sharpness is far from that of the others."""

import numpy as np
from numpy.typing import NDArray

from trainer.audit.pictures import Pictures
from trainer.audit.suspects import OUTLIER_CONTRAST, OUTLIER_SHARPNESS, OUTLIER_SIZE, Suspect

LEAST_SCORE = 3.5
"""Modified z-score from which a value is an outlier (Iglewicz and Hoaglin 1993)."""
_TO_SIGMA = 0.6745
"""Median absolute deviation of a normal distribution, in standard deviations."""
_SMALLEST = 1e-6


def outlier_scores(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns the modified z-score of each value's logarithm, negative for small values: (pictures,) float64.

    Sizes, contrasts and sharpnesses differ by factors, so their logarithms are compared. Where more than half of the
    values are equal, nothing is an outlier.

    Args:
      values: (pictures,), 0 or more.
    """
    logs = np.log(np.maximum(np.asarray(values, np.float64), _SMALLEST))
    deviation = logs - np.median(logs)
    spread = float(np.median(np.abs(deviation)))
    return _TO_SIGMA * deviation / spread if spread > _SMALLEST else np.zeros(len(logs))


def outlier_suspects(pictures: Pictures) -> list[Suspect]:
    """Returns the outliers of size, contrast and sharpness; the score is the absolute modified z-score."""
    height = pictures.sizes[:, 0].astype(np.float64)
    measures = (
        (OUTLIER_SIZE, "height of the crop, pixels of the source picture", height),
        (OUTLIER_CONTRAST, "standard deviation of the grey values", pictures.contrast),
        (OUTLIER_SHARPNESS, "variance of the Laplacian", pictures.sharpness),
    )
    found = []
    for kind, name, values in measures:
        scores = outlier_scores(values)
        for row in np.flatnonzero(np.abs(scores) >= LEAST_SCORE).tolist():
            value = round(float(values[row]), 3)
            evidence = {
                "measure": name,
                "value": value,
                "median": round(float(np.median(values)), 3),
                "side": "small" if scores[row] < 0 else "large",
            }
            found.append(Suspect(pictures.keys[row], kind, abs(float(scores[row])), pictures.texts[row], "", evidence))
    return found
