"""The course as a static site (`make site`): it opens from a folder or any web server, and loads nothing else.

Text, outputs and pictures come from the notebooks as they are committed. A notebook's code is run once more only
to find the widgets in it; their frames are made beforehand, so that the same views work without a kernel.
"""
