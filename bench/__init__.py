"""Side-by-side measurements, each a command that prints a table; with `--log` it appends a dated section to docs/LOG.md.

Only ratios within one run mean anything: all that is compared runs in turns on the same cores in the same minutes.
"""
