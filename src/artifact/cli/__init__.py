"""The command line: one verb per stage, each a call into the library that a notebook can make as well."""
