"""Model-free entrants behind the same protocol as the agents."""
