"""How Binance speaks: the client with its two hosts, the endpoints of the API, and the objects of the archive."""
