"""What bytes of others take in memory and time, measured: ``make bounds``."""
