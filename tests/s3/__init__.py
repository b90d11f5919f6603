"""Media in a bucket of a server that checks signatures (`make test-s3`)."""
