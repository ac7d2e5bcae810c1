"""From a name to a model: presets, files, downloads."""
