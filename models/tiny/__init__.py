"""The recipe of the bundled model: from invented shops to a GGUF file. See README.md."""
