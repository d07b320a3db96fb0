"""Usage summed by the quarter of an hour, so that a month's sums need not read a month's rows."""
