"""What a student trains in minutes: one file a technique, each with `train(...)`, from the shipped models."""
