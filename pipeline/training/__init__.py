"""The training loop and its parts: batches, state, checkpoints, EMA, schedule, logs, scores."""
