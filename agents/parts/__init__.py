"""What two agents or more share; a part knows no agent."""
