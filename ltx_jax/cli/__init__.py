"""Command lines and the console, for the programs."""
