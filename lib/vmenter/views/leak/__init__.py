"""LeakGame: the learner is the guest and reads what the host left."""
