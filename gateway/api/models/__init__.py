"""The JSON of the REST API as types, for its description only.

Requests are read and answers are written as plain JSON; no value passes through these types while the gateway serves.
So they cost nothing at run time, and a number or a text of a user is never changed by them. Keys have the names of the
wire. `NotRequired` means that a key may be absent; a value that may be null says so itself.
"""
