"""The control socket: HTTP with JSON over a Unix socket, its client, and the tables it prints."""
