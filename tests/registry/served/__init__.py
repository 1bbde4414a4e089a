"""The registry server, from outside: over sockets on loopback."""
