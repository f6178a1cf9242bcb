"""Slides, speaker notes and handouts of the notebooks, each one file that needs nothing else (`make slides`).

A deck is written for a room, in decks/NN.md; what it shows is the notebook's, as it was run. Notes come from
INSTRUCTOR. A handout is one sheet of A4: what the notebook is for, its key picture, the summary, the review
questions, the sources.
"""
