"""What pages that a program serves say to browsers: ask nobody else, show it nowhere.

A page's own script and style are named by their hashes, so that no other one runs.
"""

from __future__ import annotations

import base64
import hashlib
import re

HEADERS = {
  "Cross-Origin-Resource-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
}
"""Headers of every answer."""


def policy(page: str, media: str = "") -> str:
  """Returns the policy of a page.

  Args:
    page: The page in HTML; its scripts and styles have no attributes.
    media: Directives for images and clips.
  """
  allowed = [f"{tag}-src {' '.join(_hashes(page, tag))}" for tag in ("script", "style")]
  rest = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
  parts = ["default-src 'none'", "connect-src 'self'", media, *allowed, rest]
  return "; ".join(part for part in parts if part)


def _hashes(page: str, tag: str) -> list[str]:
  found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
  hashes = [hashlib.sha256(text.encode()).digest() for text in found]
  return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes]
