"""Other trainers' settings, read into ours: one file each, found by looking."""
