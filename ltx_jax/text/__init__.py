"""Prompts, the text encoder, and the cache of encoded prompts."""
