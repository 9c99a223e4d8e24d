"""The site of the documents: its pages, and how it is built, checked and served."""
