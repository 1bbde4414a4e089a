"""A registry over HTTP: the OCI distribution protocol, for whatever `contents.Contents` it is given."""
