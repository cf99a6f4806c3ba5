"""Published archives, downloaded, checked and unpacked to folders."""
