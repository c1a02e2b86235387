"""What this machine is: threads, memory, and which of several workers this process is."""
