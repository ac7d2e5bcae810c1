"""The two trainers: the VAE's and the transformer's."""
