"""A source's statistics and the page that shows them, before anything is prepared."""
