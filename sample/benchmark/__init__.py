"""A comparison with the PyTorch original: seconds, memory, share of the peak rate."""
