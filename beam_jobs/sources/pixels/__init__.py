"""What sources have in common whose files hold the pixels themselves, and no pictures' files."""
