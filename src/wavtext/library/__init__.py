"""Embeddings -> a durable library -> search results.  SQLite is the truth, the rest a cache.

library.py is the way in; store.py and schema.py keep the SQLite file, pipeline.py and indexing.py
fill it, matrix.py and exact.py search it.
"""
