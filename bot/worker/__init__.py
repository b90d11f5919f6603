"""The worker: it claims jobs and runs their handlers, which fetch media, join audio, send messages and delete files."""
