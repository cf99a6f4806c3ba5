"""Architectures, one per module, in pure Keras 3. All that read have the same input and outputs.

Keras is imported with the first model that is built. If `import trainer.models` comes before or after `import keras`,
Keras loads exported `.keras` files.

Input: images (batch, height, width, channels), 0..255, not normalised. Outputs: `length_logits` (batch,
longest + 2) and `digit_logits` (batch, longest, characters), unnormalised log-probabilities; for SVHN's numbers (batch,
7) and (batch, 5, 10). A model of single characters, as MNIST's digits, has `digit_logits` (batch, 1, characters) only.
Outputs of the model that finds numbers in pictures: see `trainer.models.finder`.
"""

from trainer.models.build import FINDERS, MODELS, build_model, computing_in
from trainer.models.registration import register_layers

__all__ = ["FINDERS", "MODELS", "build_model", "computing_in"]

register_layers()
