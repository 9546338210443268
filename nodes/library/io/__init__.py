"""Where values enter and leave a workflow."""
