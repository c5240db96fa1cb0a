"""The plugin contract as plain checks, one function each; `ssl_skel.check` runs them."""
