"""What is asked (a job) and where it is done (a run)."""
