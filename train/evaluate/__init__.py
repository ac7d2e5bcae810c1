"""Measures models: `shapes` with a judge, `study` with people."""
