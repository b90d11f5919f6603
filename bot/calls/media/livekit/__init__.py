"""LiveKit: the connection to an SFU, its signalling, and the encryption of frames."""
