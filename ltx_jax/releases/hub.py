"""Files of the Hugging Face hub, from its cache or else downloaded.

`huggingface_hub` shows the progress of a download and resumes an interrupted one. A
file in its cache is used without asking the network; with HF_HUB_OFFLINE=1 the network
is never asked.
"""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Sequence

_LOG = logging.getLogger("ltx_jax")
_ANSWERS_IN = 10
"""Seconds in which the hub must answer."""


def fetch(repository: str, file: str, licence: str | None = None) -> pathlib.Path:
  """Returns the path of a repository's file on this machine.

  Args:
    repository: Name of the repository, as organisation/name.
    file: Path of the file in the repository.
    licence: Licence to log when the file is downloaded.

  Raises:
    ValueError: If it is not in the cache and cannot be downloaded.
  """
  import huggingface_hub

  cached = huggingface_hub.try_to_load_from_cache(repository, file)
  if isinstance(cached, str):
    return pathlib.Path(cached)
  _announce(repository, file, licence)
  try:
    _check_network()
    return pathlib.Path(huggingface_hub.hf_hub_download(repository, file))
  except Exception as error:  # Network, permission or name: the remedy is the same.
    raise ValueError(
      f"{file} could not be fetched from the hub ({_cause(error)}); download "
      f"https://huggingface.co/{repository}/resolve/main/{file} on a machine with a "
      "network, put it anywhere here, and give its path instead of the hub's name."
    ) from None


def fetch_folders(
  repository: str, folders: Sequence[str], licence: str | None = None
) -> pathlib.Path:
  """Returns a folder that holds some of a repository's folders.

  Args:
    repository: Name of the repository, as organisation/name.
    folders: Names of the folders; each has a file that shows whether it was fetched.
    licence: Licence to log when they are downloaded.

  Raises:
    ValueError: If they are not in the cache and cannot be downloaded.
  """
  import huggingface_hub

  what = " and ".join(folders)
  first = f"{folders[0]}/config.json"
  cached = huggingface_hub.try_to_load_from_cache(repository, first)
  if not isinstance(cached, str):
    _announce(repository, what, licence)
  patterns = [f"{folder}/*" for folder in folders]
  try:
    if not isinstance(cached, str):
      _check_network()
    found = huggingface_hub.snapshot_download(repository, allow_patterns=patterns)
  except Exception as error:
    raise ValueError(
      f"{what} of {repository} could not be fetched from the hub ({_cause(error)}); "
      f"download them from https://huggingface.co/{repository} on a machine with a "
      "network, and give the folder that holds them as the text encoder."
    ) from None
  return pathlib.Path(found)


def _announce(repository: str, what: str, licence: str | None) -> None:
  import huggingface_hub

  if huggingface_hub.constants.HF_HUB_OFFLINE:
    return
  terms = f"; its licence: {licence}" if licence else ""
  _LOG.warning(
    f"Downloading {what} of https://huggingface.co/{repository}{terms}. An interrupted "
    "download resumes the next time."
  )


def _check_network() -> None:
  """Raises an error if the hub does not answer; its own functions try for 30 s."""
  import huggingface_hub

  session = huggingface_hub.get_session()
  session.head(huggingface_hub.constants.ENDPOINT, timeout=_ANSWERS_IN)


def _cause(error: Exception) -> str:
  import huggingface_hub

  name = type(error).__name__
  offline = huggingface_hub.constants.HF_HUB_OFFLINE
  return f"{name}: HF_HUB_OFFLINE forbids network access" if offline else name
