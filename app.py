"""Starts the page: `python app.py`. A Space runs this file with no flags."""

from ui.server.launch import main

if __name__ == "__main__":
    main()
