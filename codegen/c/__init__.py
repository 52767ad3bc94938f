"""Loops to C text. All C in this project is made in this folder."""
