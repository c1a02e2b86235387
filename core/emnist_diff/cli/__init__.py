"""What the commands of a program share, all of which are records: groups, help pages, errors as exit codes. The program
itself is a plugin's."""
