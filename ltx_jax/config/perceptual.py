"""The sizes of VGG16, whose features LPIPS compares (`models.perceptual`)."""

from __future__ import annotations

LAYERS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
"""Convolutions and channels of each of the five blocks."""

PERCEPTUAL = "perceptual"
"""First name of its parameters among those that a training step reads."""
