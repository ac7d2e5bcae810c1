"""Mutated files: valid ones of every kind that is read, changed at random, and read.

`seeds` writes the valid files and names what reads each of them, as users do. `raw`,
`trees`, `tensors` and `containers` change them: bytes, JSON, safetensors, and the boxes
and chunks of media. `cases` makes a case of its number alone, and `judge` runs cases in
child processes with limits. `tests.verify.mutated_files` runs 20,000 of them.
"""
