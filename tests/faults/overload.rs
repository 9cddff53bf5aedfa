//! More load than can be served.
