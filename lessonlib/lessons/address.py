"""Where the course lives: the one place where its address stands.

Fill it in, then `lesson notebooks run` writes it into every notebook.
"""

GITHUB = "OWNER/NAME"
