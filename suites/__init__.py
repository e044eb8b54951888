"""Who meets whom, on what, for how long."""
