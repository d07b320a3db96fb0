"""The auditor: recomputes every invariant of the books from their rows, and says where they do not agree."""
