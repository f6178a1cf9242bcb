"""What only the course needs: exercises, progress, predictions, doctor, site, slides, pictures."""
