"""Several worker processes behind one address: what passes between them and their parent, and who keeps them alive."""
