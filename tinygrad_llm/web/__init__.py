"""What the rooms that serve pages to a browser share: the files of their pages (page_files.py)."""
