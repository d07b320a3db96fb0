"""The command line: thin commands that parse, call a verb of a room and print what it answered."""
