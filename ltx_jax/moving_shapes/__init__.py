"""The small world: captioned clips of shapes, and the judge of such clips."""
