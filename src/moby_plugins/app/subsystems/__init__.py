"""The subsystems that engines use: one definition of each, for both ends of the protocol."""
