"""A search for the settings that learn best, over several runs, workers and machines."""
