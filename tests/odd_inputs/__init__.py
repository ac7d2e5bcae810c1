"""Odd inputs: what people give the programs and the library by mistake, or by habit.

`case` says what a case is, the modules of `kinds` list them, `shelf` makes the files
that they are about, `child` runs each in a process of its own, and `judge` says what is
wrong with how it ended. `python -m tests.odd_inputs` runs all, or some:

    python -m tests.odd_inputs media numbers/17 resumed
"""
