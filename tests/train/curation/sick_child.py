"""A child that does what hostile footage makes decoders do, by the name of the file."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from train.curation.workers import OUT_OF_MEMORY


def main():
  answers = sys.stdout.buffer

  def answer(value):
    answers.write(json.dumps(value).encode() + b"\n")
    answers.flush()

  answer({"ready": os.getpid()})
  for line in sys.stdin.buffer:
    name = Path(json.loads(line)["id"]).stem
    if name == "hangs":
      time.sleep(60)
    elif name == "dies":
      os.kill(os.getpid(), signal.SIGSEGV)
    elif name == "killed":
      os.kill(os.getpid(), signal.SIGKILL)
    elif name == "eats":
      sys.exit(OUT_OF_MEMORY)
    elif name == "fails":
      answer({"failed": "KeyError: 'a'"})
    else:
      answer({"decision": {"rule": "readable", "reason": "small", "value": 1}})


if __name__ == "__main__":
  main()
