"""What a compiled program takes on a device that is not there."""
