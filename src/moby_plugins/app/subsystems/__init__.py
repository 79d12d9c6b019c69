"""The subsystems that engines speak: each written down once, for both ends."""
