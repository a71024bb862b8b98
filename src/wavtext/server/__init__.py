"""The HTTP API and the web page over a sound library.

`wavtext.server.app.create_app(library, settings)` returns the ASGI application that `wavtext serve`
runs.  Requests flow one way:

    guard (who may ask) -> routes (what is asked) -> services (threads) -> shelf -> library, model

and what must be decoded goes from `decoding` to `worker`, a process that may die.
"""
