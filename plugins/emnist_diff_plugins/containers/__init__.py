"""Files that hold networks: the checkpoint of this project, and what other files are."""
