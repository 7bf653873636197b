"""What rooms that serve pages share: HTTP servers that guard and bound everything, and the files of their pages."""
