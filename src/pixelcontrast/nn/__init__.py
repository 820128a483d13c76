"""Networks: backbones, heads, the projection, and the `Segmentor` that joins them."""
