"""Finding the numbers in pictures: targets, loss, boxes of a model's outputs, scores, and the trained model."""
