"""One step of training, whatever is trained: state, optimiser, low-rank updates."""
