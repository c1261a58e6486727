"""Pictures with LoRAs on them, rendered by a process that keeps its model for the next."""
