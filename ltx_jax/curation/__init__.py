"""From raw footage to clips worth training on: pure stages over small frames."""
