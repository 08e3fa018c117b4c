"""TensorFlow's files: checkpoints of both versions, graphs, SavedModels, tensors in protobuf."""
