"""The session machine: what the bot does in a call, decided without the network. Pure."""
