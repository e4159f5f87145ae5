"""Thin wraps of the real diffusers pipelines, one file a section of the lesson."""
