"""Models that run without TensorFlow: the weights of the package as graphs for ONNX Runtime, and the choice of one."""
