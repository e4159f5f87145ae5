"""The course from scratch, one file an idea: torch alone, the papers' equations, diffusers' key names."""
