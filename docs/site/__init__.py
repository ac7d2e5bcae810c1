"""What turns the pages, the docstrings and the programs' `--help` into one site."""
