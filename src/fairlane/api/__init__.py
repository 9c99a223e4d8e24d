"""HTTP: the surfaces for customers, workers and operators. The only room that imports the web toolkit."""
