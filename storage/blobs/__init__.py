"""The media of a store: blobs named by the SHA-256 of their bytes, in a folder or in a bucket, behind one door."""
