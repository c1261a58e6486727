"""Base models in a single file, as most checkpoints are shared: one .safetensors, first names."""
