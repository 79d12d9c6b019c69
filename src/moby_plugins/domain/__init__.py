"""Values and decisions: opens, dials, sleeps and logs nothing."""
