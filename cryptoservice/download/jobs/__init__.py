"""Jobs: wanted symbol-days from the first fetch to the last verdict. They do no I/O, and are told what has arrived."""
