"""The core registers no command of its own."""
