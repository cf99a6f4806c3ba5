"""Dataset to model to report, with tf.data and tf.distribute. The command line is `python -m trainer`."""

__all__: list[str] = []
