"""What the model itself says of pictures: one file each, found by looking."""
