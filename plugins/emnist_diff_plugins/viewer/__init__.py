"""The page that shows trajectory files in a browser: how `view` serves and saves it, and how notebooks show it.

The page itself, ``static/viewer.html``, is built from ``plugins/viewer`` and reads bytes of trajectory files. `page`
tells it which files there are, and states what it may do; `shown` finds these files, and copies those that the page
cannot read; `serve` hands out the page and ranges of bytes, `save` writes a page with the bytes in it.
"""
