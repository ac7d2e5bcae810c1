"""The paper's claims about the Video-VAE: recipes, runs, measurements, and the page."""
