"""A plugin of pytest: where asyncpg takes a type's schema for `public`, the tests mean the tenant."""

import asyncpg

for name in ("set_type_codec", "reset_type_codec", "set_builtin_type_codec"):
    getattr(asyncpg.Connection, name).__kwdefaults__["schema"] = "acme"
