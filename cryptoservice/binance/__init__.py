"""Everything that knows how Binance speaks: hosts, limits, endpoints, archive objects and row formats."""
