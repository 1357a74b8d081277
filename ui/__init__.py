"""The page: one file per tab, and what the tabs share. Knows gradio; the model knows none of it."""
