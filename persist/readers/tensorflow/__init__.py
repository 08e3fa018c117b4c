"""TensorFlow: checkpoints, graphs and SavedModels."""
