"""What the page does, without gradio components and without HTML."""
