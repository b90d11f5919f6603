"""Stems: the sound of each device in a call, written as one growing Ogg file and kept in slices."""
