"""A blind comparison of models by people: `make`, `serve` and `results`."""
