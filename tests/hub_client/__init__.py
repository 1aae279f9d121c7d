"""The client, against a hub on the loopback where things go wrong."""
