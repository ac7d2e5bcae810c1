"""The loss of transformers by noise level and clip size, with fixed draws."""
