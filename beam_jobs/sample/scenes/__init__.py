"""Complete street pictures, drawn with the boxes of their numbers; `picture` draws one, `write` a dataset of them."""
