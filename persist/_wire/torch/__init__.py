"""PyTorch's files: storages, tensors rebuilt from checked parts, archives, whole modules, writers."""
