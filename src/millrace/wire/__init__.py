"""Public formats: a caller's bytes into frozen values (parse_x), values into bytes (render_x). No I/O, no HTTP."""
