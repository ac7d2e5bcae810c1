"""The paper's claims about the transformer, each next to a control, at a small size."""
