"""The packages of a release: built, checked, installed and used."""
