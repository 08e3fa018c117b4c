"""PyTorch: ZIP, legacy and tar files, TorchScript, mobile, exported and distributed ones."""
