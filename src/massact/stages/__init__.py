"""One module per pipeline stage: read the configuration, call a room, write its table."""
