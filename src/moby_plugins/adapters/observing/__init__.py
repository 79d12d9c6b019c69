"""Ready-made observers: one technology each, logging, OpenTelemetry and Prometheus."""
