"""The store's doors: its methods, grouped by who asks. ``Store`` is all of them together; nobody else imports one."""
