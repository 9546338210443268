"""Card, preset, world book, history and regex scripts to one prompt, with a report on how it came about.

`builder.build` is the entry: JSON in, JSON out.
"""
