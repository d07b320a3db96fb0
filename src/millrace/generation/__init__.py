"""The inner language that engines speak: what is asked (Order), what comes back (Chunk), and what it counts (TokenCounts)."""
