"""What a run needs, asked before it starts: memory, tiles, operations."""
