"""The queue: jobs that wait, who works on them, and how they ended."""
