"""Promises, one test module each."""
