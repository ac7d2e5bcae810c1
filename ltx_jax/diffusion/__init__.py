"""The mathematics, one concept a file: flow, noise levels, guidance, sampling."""
