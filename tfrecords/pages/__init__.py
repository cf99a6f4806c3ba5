"""Parts of the self-contained HTML pages that commands write: one skeleton, one stylesheet, one way to draw a chart."""
