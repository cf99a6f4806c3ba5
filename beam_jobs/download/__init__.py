"""Published archives to folders: fetched, checked and unpacked."""
