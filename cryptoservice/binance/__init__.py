"""What the exchange offers: the client with its two hosts, the endpoints of the API, and the files of the archive."""
