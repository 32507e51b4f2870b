"""Writers of films, one file format a module."""
