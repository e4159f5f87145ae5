"""The emoji world: seeded scenes with captions and exact ground truth.

A scene is a value (`scene`), it can be said (`captions`), read back (`parse`) and drawn (`render`).
"""
