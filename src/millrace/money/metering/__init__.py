"""What requests consumed: the progress journal while they run, one usage row each when they end. Knows no money."""
