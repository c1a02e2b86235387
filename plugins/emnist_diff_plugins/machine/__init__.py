"""What a process is started on: how many threads it should compute with, and which of several workers it is."""
