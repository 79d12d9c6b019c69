"""Ready-made observers: logging, OpenTelemetry and Prometheus."""
