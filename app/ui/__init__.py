"""The app's pages: a web server of this machine, and what it serves.

The server and its pages draw and wire; what they show is read from folders, and what they start
are processes of their own. Gradio is imported here only, and not before pages are served.
"""
