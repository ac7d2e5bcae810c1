"""The networks; the only folder that imports Flax."""
