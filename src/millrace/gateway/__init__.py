"""The data plane: authenticate, admit, hold, generate, release, settle. The only room of the API that touches HTTP."""
