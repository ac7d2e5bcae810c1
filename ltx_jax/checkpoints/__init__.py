"""Files of weights and their layouts, and the state of a training run."""
