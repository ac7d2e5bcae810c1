"""What the VAE is trained on."""
