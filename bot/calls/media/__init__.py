"""The media of calls: connections to devices, of which only Opus packets and PCM frames come out."""
