"""Readers of structure: each knows one way in which texts are laid out, and says of a stretch of text what is what.

lines    combo lists, columns with and without a header, `URL:login:password`, plain lists
sql      INSERT and REPLACE of all dialects, COPY
keyed    JSON at any depth, XML, PHP's arrays, 'Login: …' lines
segments which of them reads what: a reader is left where the text goes on in another shape
"""
