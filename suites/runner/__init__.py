"""Runs trials: the gate, one trial, and the sweep over many."""
