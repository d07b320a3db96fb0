"""Which servers there are: epochs, who is alive, who took whose work over. Knows no money."""
