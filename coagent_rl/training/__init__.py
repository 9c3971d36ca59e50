"""Training runs: hyperparameters, run folders, callbacks, evaluation."""
