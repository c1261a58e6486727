"""What a person touches: the command line and the processes it starts."""
