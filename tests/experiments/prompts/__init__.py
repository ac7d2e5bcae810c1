"""How the small model takes other wordings, other captions and other sizes."""
