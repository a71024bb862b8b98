"""A library's own words: its names, captions, tags or folders -> a small correction of queries.

vocabulary.py reads the words, residual.py is the correction, measure.py and learn.py decide whether
it is kept, serving.py hands it to searches. docs/adapt.md tells the whole story.
"""
