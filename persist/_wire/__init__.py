"""Byte grammars without any framework's name in them."""
