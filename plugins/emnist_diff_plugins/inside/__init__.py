"""Inside a network while it is evaluated: attention and hidden states, which its evaluation does not notice.

Attention is read where it is computed, at torch's own kernel, and not by replacing a part of the network.
"""
