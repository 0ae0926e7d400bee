"""Web page: an image or a video, instructions, and masks over it; ``instructseg app`` is the same.

python -m pip install -e ".[app]" && python demo/app.py [--model FOLDER_OR_REPOSITORY] [--port 7860]
"""

import sys

from instructseg.cli import app

if __name__ == "__main__":
    app(["app", *sys.argv[1:]])
