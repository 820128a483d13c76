"""Gradio's theme in the colours of the report, light and dark; fonts of the system, none from elsewhere."""

from __future__ import annotations

from typing import Any

import gradio as gr

_FONT = ("ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif")
# Of a part of the page: on a light one, on a dark one.
_COLOURS = {
    "body_background_fill": ("#faf9f6", "#101316"),
    "body_text_color": ("#1b1f23", "#e7e9ec"),
    "body_text_color_subdued": ("#59626b", "#a4aeb8"),
    "background_fill_primary": ("#ffffff", "#171b1f"),
    "background_fill_secondary": ("#f1efe9", "#1f252a"),
    "block_background_fill": ("#ffffff", "#171b1f"),
    "block_border_color": ("#e4e1d9", "#2a3036"),
    "block_label_background_fill": ("#ffffff", "#171b1f"),
    "block_label_text_color": ("#59626b", "#a4aeb8"),
    "block_title_text_color": ("#59626b", "#a4aeb8"),
    "border_color_primary": ("#e4e1d9", "#2a3036"),
    "border_color_accent": ("#0a5f98", "#74bdf0"),
    "color_accent": ("#0a5f98", None),
    "color_accent_soft": ("#e3eef6", "#1d2c38"),
    "input_background_fill": ("#ffffff", "#171b1f"),
    "input_border_color": ("#d5d1c7", "#38414a"),
    "button_primary_background_fill": ("#0a5f98", "#74bdf0"),
    "button_primary_background_fill_hover": ("#084d7c", "#93cbf3"),
    "button_primary_text_color": ("#ffffff", "#101316"),
    "button_secondary_background_fill": ("#f1efe9", "#1f252a"),
    "button_secondary_background_fill_hover": ("#e4e1d9", "#2a3036"),
    "button_secondary_text_color": ("#1b1f23", "#e7e9ec"),
    "checkbox_label_background_fill": ("#f1efe9", "#1f252a"),
    "checkbox_label_background_fill_selected": ("#e3eef6", "#1d2c38"),
    "checkbox_label_text_color": ("#1b1f23", "#e7e9ec"),
    "checkbox_label_text_color_selected": ("#1b1f23", "#e7e9ec"),
    "checkbox_background_color_selected": ("#0a5f98", "#74bdf0"),
    "checkbox_border_color_selected": ("#0a5f98", "#74bdf0"),
    "slider_color": ("#0a5f98", "#74bdf0"),
    "link_text_color": ("#0a5f98", "#74bdf0"),
}


def calm() -> Any:
    """The theme."""
    values: dict[str, str] = {
        "block_shadow": "none",
        "block_border_width": "1px",
        "layout_gap": "10px",
        "button_large_radius": "8px",
    }
    for name, (light, dark) in _COLOURS.items():
        values[name] = light
        if dark is not None:
            values[f"{name}_dark"] = dark
    theme = gr.themes.Base(font=list(_FONT), font_mono=["ui-monospace", "monospace"], radius_size="md")
    return theme.set(**values)
