"""FirstMinute: one button, and what lies in the buffers when a guest is let in."""
