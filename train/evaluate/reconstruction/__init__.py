"""Figures of reconstructions, with their intervals, from clips or two folders."""
