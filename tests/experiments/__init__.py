"""The paper's claims about the transformer, each beside a control, at a small size."""
