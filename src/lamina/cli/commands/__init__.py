"""One module per command; `lamina.cli.table` names them, and they are imported when they run."""
