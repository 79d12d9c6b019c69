"""One technology each: translate, never decide."""
