"""The testbed: device, edge and cloud as three processes with real layers, sockets and links."""
