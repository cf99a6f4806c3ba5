"""Training, evaluation and use of models that read numbers, with Keras and tf.distribute.

The command line is `python -m trainer`.
"""

__all__: list[str] = []
