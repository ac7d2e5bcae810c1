"""Measures of quality, and the linear baseline of the VAE."""
