"""The command `define`: which symbols had market data on which UTC day, asked of the exchange and written down once."""
