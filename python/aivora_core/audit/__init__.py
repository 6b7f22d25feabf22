"""Tools that check the core from outside of it; the oracle here imports nothing of the core."""
