"""Health checks of labeled images: what would make a classifier look better, or worse, than it is. One file a check."""
