"""What engines behind an OpenAI-compatible HTTP server share: orders out, frames in, tokens counted, refusals told."""
