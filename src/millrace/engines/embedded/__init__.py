"""llama.cpp in a child process of its own, reached over loopback: `engine` is ours, `child` is what runs over there.

Nothing is imported here, so that the child starts with no more than it needs.
"""
