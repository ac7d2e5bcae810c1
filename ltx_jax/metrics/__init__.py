"""Measures of reconstructions and latents, and the linear baseline of the VAE."""
