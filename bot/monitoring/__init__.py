"""The figures of a running process, for those who look after it: metrics for Prometheus, and problems in words."""
