"""What a host wants done, in order."""
