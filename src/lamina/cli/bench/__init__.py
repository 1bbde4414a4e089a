"""What `lamina bench` shows on a terminal."""
