"""Adapters to one technology each: they translate, and leave decisions to other packages."""
