"""The coverage map: a coverage report as one HTML page, symbols by days, which needs nothing else and asks nobody."""
