"""HTTP: the customers', the workers' and the operator's surfaces. The only room that knows the web toolkit."""
