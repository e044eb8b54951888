"""Model-based agents; one file is one published algorithm."""
