"""The coverage map: a coverage report as one HTML page, symbols by days, that works offline and on its own."""
