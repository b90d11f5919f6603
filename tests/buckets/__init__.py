"""Buckets of object storage for tests: moto's server, and a proxy before it that makes faults."""
