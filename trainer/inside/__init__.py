"""What happens inside a network: its layers, kernels, feature maps, barcodes, attention and saliency, as arrays.

Each function takes a Keras model whose input is images (batch, height, width, channels), 0..255, and whose outputs are
a dict of logits, as `trainer.models` makes it. Equal models and images give equal bytes. Keras, and TensorFlow for
gradients, are imported with the first call.
"""
