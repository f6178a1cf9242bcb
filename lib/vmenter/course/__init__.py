"""What only the course needs: copies, exercises, progress, predictions, doctor, site, slides, pictures."""
