"""``emnist-diff run --dashboard``: a run as it happens, on a terminal.

`watch` tells `state` what the run does, `devices` what the machine does; `screen` turns a snapshot of the state into
something that rich can draw, and `dashboard` puts it on the terminal and takes it away again.
"""
