"""Suffixes of the files that can be read.

This is apart from `video`, whose imports take a while.
"""

from __future__ import annotations

VIDEOS = {  # Suffix: one of libav's names of the container.
  ".mp4": "mp4",
  ".m4v": "mp4",
  ".mov": "mov",
  ".mkv": "matroska",
  ".webm": "webm",
  ".avi": "avi",
  ".mpg": "mpeg",
  ".mpeg": "mpeg",
  ".ts": "mpegts",
}

PICTURES = {  # Suffix: Pillow's name of the format.
  ".png": "PNG",
  ".jpg": "JPEG",
  ".jpeg": "JPEG",
  ".webp": "WEBP",
  ".gif": "GIF",
  ".bmp": "BMP",
  ".tif": "TIFF",
  ".tiff": "TIFF",
  ".avif": "AVIF",
  ".heic": "HEIF",
  ".heif": "HEIF",
}
