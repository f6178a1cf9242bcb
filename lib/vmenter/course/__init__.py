"""What only the course needs: the learner's own copies, predictions."""
