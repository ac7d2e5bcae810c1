"""The policy of a served page: its own script and style, and nothing else."""

import base64
import hashlib

from train.page.safety import policy


def test_scripts_and_styles_are_named_by_their_hashes():
  said = policy("<style>a {}</style><script>\nf();\n</script>", "img-src 'self'")
  digest = base64.b64encode(hashlib.sha256(b"\nf();\n").digest()).decode()
  assert f"script-src 'sha256-{digest}'" in said
  assert "default-src 'none'" in said and "img-src 'self'" in said
  assert "unsafe" not in said and "frame-ancestors 'none'" in said
