"""Pull-through: `lamina.images.served.proxied` before a store, over registries of the tests."""
