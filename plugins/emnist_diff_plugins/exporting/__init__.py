"""Files of a recorded run: a trajectory file read as the run that wrote it, and handed to any sinks."""
