"""What turns gradients into updates, one file each."""
