"""What the operator decides: `millrace.toml` parsed into frozen settings, and the home folder where everything lies."""
