"""What judges an answer: reads it, runs it within limits, enters a guest with it; knows no exercise."""
