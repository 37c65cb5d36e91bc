"""What is needed to run the provider where users are; nothing of it is in the wheel."""
