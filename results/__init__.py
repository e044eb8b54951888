"""What trials left behind."""
