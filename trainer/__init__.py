"""What is learned: a job becomes a run, a run becomes LoRA files."""
