"""What `lamina demo` shows: images out of the machine's own files, and the proof that they come back whole."""
