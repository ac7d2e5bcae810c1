"""Clips in the layout of the VBench suites, whose own code is never imported."""
