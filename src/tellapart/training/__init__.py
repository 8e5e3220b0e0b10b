"""The training loop for networks: optimizers, schedules, losses, checkpoints, time budget."""
